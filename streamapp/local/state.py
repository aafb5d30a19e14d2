"""What `streamapp run` keeps in the state directory: who uses it, what lives there, how it is wiped."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from streamapp.errors import Refused
from streamapp.processes.child import listens
from streamapp.processes.lock import take, taken
from streamapp.settings import Settings
from streamapp.topics.registry import GROUPS

DEMO_TOKEN = "ha_demo"
LOCK = "run.lock"

# What a run may leave there: folders, and files by pattern. Whoever keeps something new adds its name.
FOLDERS: tuple[str, ...] = ("logs", "archive", "clickhouse", "security", *(one.name for one in GROUPS))
FILES: tuple[str, ...] = ("ledger.db*",)

# Settings that keep something outside of it, and what; a fresh start cannot wipe that.
ELSEWHERE: tuple[tuple[str, str], ...] = (
    ("kafka.bootstrap_servers", "Kafka"),
    ("ledger_url", "ledger"),
    ("archive.url", "archive"),
    ("clickhouse.url", "ClickHouse"),
    ("clickhouse.dir", "ClickHouse"),
)


def take_lock(state_dir: Path) -> int:
    """Let no other run use this directory while the descriptor is open. Raises as `taken`."""
    return taken(state_dir / LOCK, "run", "STREAM_STATE_DIR")


def is_in_use(state_dir: Path) -> bool:
    """Whether a run uses this directory now."""
    if not (state_dir / LOCK).exists():
        return False
    descriptor = take(state_dir / LOCK)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def demo_directory(settings: Settings) -> Path:
    """The team directory of a run that was given none."""
    return settings.state_dir / "directory.toml"


def write_directory(settings: Settings) -> None:
    """Make it, unless it is there: somebody may have added teams."""
    if settings.directory is None and not demo_directory(settings).exists():
        demo_directory(settings).write_text(f'[teams.team_demo]\norg = "org_demo"\ntokens = ["{DEMO_TOKEN}"]\n')


def wipe(settings: Settings) -> None:
    """Remove what earlier runs left in the state directory: the broker's data, tables, ledger, archive, logs; nothing
    else.

    Raises `Refused` where something is kept outside of it, because half of a fresh start is none.
    """
    for name, what in ELSEWHERE:
        if _is_set(settings, name):
            variable = f"STREAM_{name.replace('.', '__').upper()}"
            raise Refused(f"--fresh cannot wipe a {what} of its own: unset {variable}, or leave it out")
    if settings.broker.port and listens(settings.broker.port):
        raise Refused(f"port {settings.broker.port} is taken: stop the broker there before its data are wiped")
    broker_dir = settings.broker.dir or settings.state_dir / "broker"
    if broker_dir.exists() and not (broker_dir / "server.properties").exists():
        raise Refused(f"{broker_dir} is not a broker's data directory; nothing was wiped")
    for folder in (broker_dir, *(settings.state_dir / name for name in FOLDERS)):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (file for pattern in FILES for file in settings.state_dir.glob(pattern)):
        file.unlink()


def _is_set(settings: Settings, name: str) -> bool:
    *path, field = name.split(".")
    section: Any = settings
    for part in path:
        section = getattr(section, part)
    return field in section.model_fields_set and getattr(section, field) is not None
