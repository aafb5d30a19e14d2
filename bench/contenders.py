"""Who takes part: a tuple you can read. Each runs in an environment of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from bench import java, venvs
from bench.contender import Command, Contender, Records, Run, billed, hours, stated
from bench.oracle import Table
from streamapp.processes.child import free_port

OURS_GROUP = "billing-agg"
FAUST_EVENTS_MAX = 100_000  # minutes otherwise
TAKE_EVENTS_MAX = 300_000
HERE = Path(__file__).parent


def _nothing() -> None:
    """It runs in the project's own environment."""


def ours_command(run: Run) -> Command:
    """The worker as people start it."""
    return faust_command(sys.executable, "-A", "streamapp.agents.billing_agg", "worker", "-l", "info")


def faust_command(python: str, *arguments: str) -> Command:
    """Faust's command line on uvloop."""
    return (python, "-m", "faust", "--loop=uvloop", *arguments)


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


def _environment(run: Run) -> Mapping[str, str]:
    state = run.folder / "state"
    state.mkdir(parents=True, exist_ok=True)
    return {"BENCH_BOOTSTRAP": run.bootstrap, "BENCH_STATE": str(state)}


def _changelog(topic: str, records: Records) -> Table:
    return hours((record.key, record.value) for record in records(topic))


def _faust(name: str, module: str, what: str, events_max: int | None) -> Contender:
    app, folder = f"faust-{'take' if module == 'take' else 'hourly'}", str(HERE / "faust")
    return Contender(
        name=name,
        what=what,
        prepare=partial(venvs.make, "faust"),
        commands=lambda run: (
            faust_command(venvs.python("faust"), "-W", folder, "-A", module, "worker", "-l", "info", "--without-web"),
        ),
        group=app,
        answer=partial(_changelog, f"{app}-hourly-changelog"),
        environment=_environment,
        events_max=events_max,
    )


def _bytewax(run: Run) -> tuple[Command, ...]:
    python, recovery = venvs.python("bytewax"), str(run.folder / "state")
    module = f"{HERE / 'bytewax' / 'bytewax_hourly.py'}:flow"
    prepare = f"{python} -m bytewax.recovery {recovery} 1"
    return (("/bin/sh", "-c", f"{prepare} && exec {python} -m bytewax.run {module} -r {recovery} -s 10 -b 0"),)


def _streams(name: str, guarantee: str) -> Contender:
    return Contender(
        name=name,
        what=f"Kafka Streams 4.3.1, 2 threads, RocksDB, {guarantee}",
        prepare=java.make,
        commands=lambda run: (java.command(run.bootstrap, guarantee, run.folder / "state"),),
        group="streams-hourly",
        answer=stated,
    )


CONTENDERS: tuple[Contender, ...] = (
    _ours("ours", 1),
    _ours("ours-2", 2),
    _streams("kafka-streams-eos", "exactly_once_v2"),
    _streams("kafka-streams-alo", "at_least_once"),
    Contender(
        name="bytewax",
        what="Bytewax 0.21, snapshots in SQLite",
        prepare=partial(venvs.make, "bytewax"),
        commands=_bytewax,
        group="bytewax-hourly",
        answer=stated,
        environment=_environment,
        ends_itself=True,
    ),
    Contender(
        name="quix",
        what="Quix Streams 3.28, RocksDB with changelog",
        prepare=partial(venvs.make, "quix"),
        commands=lambda run: ((venvs.python("quix"), str(HERE / "quix" / "quix_hourly.py")),),
        group="quix-hourly",
        answer=stated,
        environment=_environment,
    ),
    _faust("faust-take", "take", "Faust, batches with take, tuned, rows in memory and changelog", TAKE_EVENTS_MAX),
    _faust("faust", "stock", "Faust, idiomatic agent and table on RocksDB", FAUST_EVENTS_MAX),
    Contender(
        name="floor",
        what="aiokafka, msgspec and a dict; nothing is durable",
        prepare=partial(venvs.make, "floor"),
        commands=lambda run: ((venvs.python("floor"), str(HERE / "floor" / "floor.py")),),
        group="floor",
        answer=stated,
        environment=_environment,
    ),
)


def named(names: str, contenders: Sequence[Contender] = CONTENDERS) -> tuple[Contender, ...]:
    """The contenders of a comma-separated list in its order, all for an empty one. Raises ValueError for others."""
    known = {contender.name: contender for contender in contenders}
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(known)
    strangers = [name for name in wanted if name not in known]
    if strangers:
        raise ValueError(f"{', '.join(strangers)}: no such contender; there are {', '.join(known)}")
    return tuple(known[name] for name in wanted)
