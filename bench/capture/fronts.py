"""Who answers: capture as people start it, and the bare reference. One process each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import venvs
from bench.capture.bodies import directory
from bench.contender import Command

TOPIC = "events_plugin_ingestion"
OURS, REFERENCE = "capture", "reference"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a front runs: its Kafka, its port, a folder of its own."""

    bootstrap: str
    port: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Front:
    """An HTTP server in front of Kafka. `prepare` makes its environment and raises `Missing`."""

    name: str
    prepare: Callable[[], None]
    command: Callable[[Place], Command]
    environment: Callable[[Place], Mapping[str, str]]


def _ours_environment(place: Place) -> Mapping[str, str]:
    teams = place.folder / "directory.toml"
    teams.write_text(directory())
    return {
        "STREAM_KAFKA__BOOTSTRAP_SERVERS": place.bootstrap,
        "STREAM_CAPTURE__PORT": str(place.port),
        "STREAM_DIRECTORY": str(teams),
        "STREAM_STATE_DIR": str(place.folder / "state"),
    }


def _reference_environment(place: Place) -> Mapping[str, str]:
    return {"BENCH_BOOTSTRAP": place.bootstrap, "BENCH_PORT": str(place.port), "BENCH_TOPIC": TOPIC}


FRONTS: tuple[Front, ...] = (
    Front(
        name=OURS,
        prepare=lambda: None,  # it runs in the project's own environment
        command=lambda place: (sys.executable, "-m", "streamapp", "capture"),
        environment=_ours_environment,
    ),
    Front(
        name=REFERENCE,
        prepare=partial(venvs.make, "capture"),
        command=lambda place: (venvs.python("capture"), str(Path(__file__).with_name("reference.py"))),
        environment=_reference_environment,
    ),
)


def fronts(names: str) -> tuple[Front, ...]:
    """The fronts of a comma-separated list, all for an empty one. Raises ValueError for others."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {front.name: front for front in FRONTS}
    strangers = [name for name in wanted if name not in known]
    if strangers:
        raise ValueError(f"{', '.join(strangers)}: no such front; there are {', '.join(known)}")
    return tuple(known[name] for name in wanted or known)
