"""What all processes of a run tell, as Prometheus has it: every family, its type and its labels.

`tests/golden/scrape.txt` is the record. Rules, dashboards and the reference are held to it (`tests/tidy`), and each
scraped run to what it says. After a change that is meant: `tests/broker/record_scrape.py` writes it anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prometheus_server import Server

RECORD = Path(__file__).parent / "golden" / "scrape.txt"
OURS = ("kafka_", "stream_", "hanzo_llm_", "capture_")
ENDINGS = ("_total", "_bucket", "_count", "_sum", "_info")
OF_PROMETHEUS = {"__name__", "job", "instance", "worker_of", "le"}


class Family(NamedTuple):
    """A metric: what it is, and the labels of its series; None while it has none."""

    type: str
    labels: frozenset[str] | None


Record = Mapping[str, Family]


def family(name: str) -> str:
    """The family of a series, without the ending that its type gives it."""
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return name


def told(server: Server) -> Record:
    """What the targets of a Prometheus tell now."""
    types = {family(name): facts[0]["type"] for name, facts in server.ask("metadata").items() if name.startswith(OURS)}
    labels: dict[str, frozenset[str]] = {}
    for series in server.ask("series", **{"match[]": '{job=~".+"}'}):
        name = family(series["__name__"])
        labels[name] = labels.get(name, frozenset()) | (series.keys() - OF_PROMETHEUS)
    return {name: Family(type_, labels.get(name)) for name, type_ in types.items()}


def recorded() -> Record:
    """The record."""
    found = {}
    for line in RECORD.read_text(encoding="utf-8").splitlines():
        name, type_, labels = line.split(" ")
        found[name] = Family(type_, None if labels == "none" else frozenset(labels.strip("{}").split(",")) - {""})
    return found


def written(record: Record) -> str:
    """A record as text: `stream_lag_growth gauge {group,topic}`; `none` where no series was seen."""
    lines = (
        f"{name} {one.type} {'none' if one.labels is None else '{' + ','.join(sorted(one.labels)) + '}'}\n"
        for name, one in sorted(record.items())
    )
    return "".join(lines)


def differences(now: Record) -> list[str]:
    """How a scrape differs from the record. A family may be without series in either."""
    before = recorded()
    found = [f"{name} is told, and not in the record" for name in now.keys() - before.keys()]
    found += [f"{name} is in the record, and nobody tells it" for name in before.keys() - now.keys()]
    for name in now.keys() & before.keys():
        one, other = now[name], before[name]
        if one.type != other.type or (None not in (one.labels, other.labels) and one.labels != other.labels):
            found.append(f"{name} is {one}, the record says {other}")
    return sorted(found)
