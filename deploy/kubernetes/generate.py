"""The manifests that follow from the registries: `python deploy/kubernetes/generate.py` writes base/processes.yaml,
base/network.yaml and parts of components/. Groups, counts, ports, principals and who may talk to whom come from the
code; another process is a line in parts/processes.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from parts.components import external, monitors, operator, scaled
from parts.network import policies
from parts.pods import manifests, pages_service
from parts.processes import Manifest, everything

HERE = Path(__file__).resolve().parent
HEAD = "# Made by deploy/kubernetes/generate.py from the registries. Do not edit: the next run writes it again.\n"


class _Plain(yaml.SafeDumper):
    """No anchors: each object is whole."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(documents: Iterator[Manifest]) -> str:
    return HEAD + yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=120, explicit_start=True)


def files() -> dict[str, str]:
    """File below deploy/kubernetes → its text."""
    processes = (made for one in everything() for made in manifests(one))
    return {
        "base/processes.yaml": text(iter((*processes, pages_service()))),
        "base/network.yaml": text(policies()),
        "components/keda/scaledobjects.yaml": text(scaled()),
        "components/operator/operator.yaml": text(operator()),
        "components/external-secrets/externalsecrets.yaml": text(external()),
        "components/servicemonitor/monitors.yaml": text(monitors()),
    }


def main() -> None:
    """Write the files."""
    for name, made in files().items():
        (HERE / name).write_text(made, encoding="utf-8")
        sys.stdout.write(f"{name} is as the registries say\n")


if __name__ == "__main__":
    main()
