"""Who takes part: a tuple you can read. Each runs in an environment of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from bench.contender import Command, Contender, Run, billed
from streamapp.kafka.child import free_port

OURS_GROUP = "billing-agg"


def _nothing() -> None:
    """It runs in the project's own environment."""


def ours_command(run: Run) -> Command:
    """The worker as people start it."""
    return (
        sys.executable,
        "-m",
        "faust",
        "--loop=uvloop",
        "-A",
        "streamapp.agents.billing_agg",
        "worker",
        "-l",
        "info",
    )


def ours_environment(run: Run) -> Mapping[str, str]:
    """The settings of a run; everything else is the default."""
    return {
        "STREAM_KAFKA__BOOTSTRAP_SERVERS": run.bootstrap,
        "STREAM_STATE_DIR": str(run.folder / "state"),
        "STREAM_WEB__PORT": str(free_port()),
    }


def _ours(name: str, workers: int) -> Contender:
    return Contender(
        name=name,
        what=f"billing-agg, {workers} worker{'s' if workers > 1 else ''}: exactly once, duplicates removed, bills",
        prepare=_nothing,
        commands=lambda run: (ours_command(run),) * workers,
        group=OURS_GROUP,
        answer=billed,
        environment=ours_environment,
    )


CONTENDERS: tuple[Contender, ...] = (
    _ours("ours", 1),
    _ours("ours-2", 2),
)


def named(names: str) -> tuple[Contender, ...]:
    """The contenders of a comma-separated list in its order, all for an empty one. Raises ValueError for others."""
    known = {contender.name: contender for contender in CONTENDERS}
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(known)
    strangers = [name for name in wanted if name not in known]
    if strangers:
        raise ValueError(f"{', '.join(strangers)}: no such contender; there are {', '.join(known)}")
    return tuple(known[name] for name in wanted)
