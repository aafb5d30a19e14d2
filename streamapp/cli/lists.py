"""Lists of processes that other programs and people read: a group that one of them lacks is added at its end. What
stands there is left alone: a group may need more than every group does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from streamapp.agents.registry import AGENTS
from streamapp.settings import Settings
from streamapp.topics.registry import group, port_offset, topic

WORKER = ("faust", "--loop=uvloop", "-A", "", "worker", "-l", "info")


def _procfile(text: str) -> str:
    return text + "".join(f"{name}: {' '.join(command)}\n" for name, command in _missing(text, "^{name}: "))


def _compose(text: str) -> str:
    services, end, rest = text.partition("\n\n  simulate:\n")
    for name, command in _missing(text, "^  {name}:$"):
        words = ", ".join(f'"{word}"' for word in command)
        services += f"\n\n  {name}:\n    <<: *worker\n    command: [{words}]"
        if group(name).consumers > 1:
            services += f"\n    deploy:\n      replicas: {group(name).consumers}"
    return services + end + rest


def _runbook(text: str) -> str:
    head, table, rest = re.split(r"(?<=^## Processes\n\n)((?:^\|.*\n)+)", text, maxsplit=1, flags=re.MULTILINE)
    for name, command in _missing(table, r"^\| `{name}` "):
        source, port = group(name).topics[0], Settings.model_construct().web.port + port_offset(name)
        workers = f"{topic(source).partitions}, one per partition of `{source}`"
        table += f"| `{name}` | `{' '.join(command)}` | {workers} | {port} |\n"
    return head + table + rest


def _missing(text: str, pattern: str) -> Iterator[tuple[str, list[str]]]:
    """Each group that a list does not have, and the command of its worker."""
    for name, module, _ in AGENTS:
        if re.search(pattern.replace("{name}", name), text, re.MULTILINE) is None:
            yield name, [word or module for word in WORKER]


LISTS: Mapping[str, Callable[[str], str]] = {
    "Procfile": _procfile,
    "docker-compose.yml": _compose,
    "docs/runbook.md": _runbook,
}
"""File → its text with every group in it."""
