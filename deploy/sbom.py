"""What an image holds, as a CycloneDX document: `make sbom`, or `python deploy/sbom.py FILE`. Asks no network.

The packages of requirements.lock are required. The jars of the embedded broker are optional: an image has none, and
`streamapp run` fetches them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
JARS = PROJECT / "streamapp" / "broker" / "jars.lock"
TOOL = ("requirements", "requirements.lock", "--pyproject", "pyproject.toml", "--output-reproducible", "--of", "JSON")
TIMEOUT_S = 120


def document() -> dict[str, Any]:
    """The document: the same bytes as long as the locks are the same."""
    command = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", *TOOL, "-o", "-"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    made: dict[str, Any] = json.loads(done.stdout)
    for component in made["components"]:
        component["scope"] = "required"
        del component["description"]  # the line of the lock, with its hashes once more
    made["components"] += jars(JARS.read_text())
    return made


def jars(lock: str) -> Iterator[dict[str, Any]]:
    """The lines of jars.lock as components."""
    for line in lock.splitlines():
        if line and not line.startswith("#"):
            coordinate, sha256 = line.split()
            group, name, version = coordinate.split(":")
            purl = f"pkg:maven/{group}/{name}@{version}"
            yield {
                "type": "library",
                "bom-ref": purl,
                "group": group,
                "name": name,
                "version": version,
                "purl": purl,
                "scope": "optional",
                "hashes": [{"alg": "SHA-256", "content": sha256}],
            }


def main() -> None:
    """Write the document to the file that is named."""
    made = document()
    Path(sys.argv[1]).write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"{len(made['components'])} components in {sys.argv[1]}\n")


if __name__ == "__main__":
    main()
