"""A broker with locks on, shared by a session: `pytest_plugins = ("locked_fixtures",)` in a module that needs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from emptied import QUIET
from locked import FOREIGN, THEIRS, Locked
from workers import variables

from streamapp import settings as settings_module
from streamapp.broker.secure import ADMIN, Secured
from streamapp.cli import command
from streamapp.cli.reached import _ask
from streamapp.kafka import provision
from streamapp.kafka.acls import apply
from streamapp.kafka.admin import Admin
from streamapp.topics.registry import TOPICS


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, formatted: Path) -> Iterator[Locked]:
    """A broker on which nobody but `admin` may do anything yet; it has the registry's topics."""
    made, folder = Secured(tmp_path_factory.mktemp("security"), cache_dir), tmp_path_factory.mktemp("secured")
    shutil.copytree(formatted, folder / formatted.name)
    with made.broker(folder, properties=QUIET) as broker:
        locked = Locked(made, broker)
        admin = Admin(locked.settings(ADMIN))
        provision.apply(admin, TOPICS, 1)
        admin.create(FOREIGN, 1, 1, {})
        yield locked


@pytest.fixture(scope="session")
def locked(secured: Locked) -> Locked:
    """The same, with what `access apply` adds beside an entry that is not ours."""
    admin = secured.admin
    admin.add([THEIRS])
    apply(admin)
    return secured


@pytest.fixture
def run(secured: Locked, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`run("reconciler", "access", "plan")` → how the command ended."""

    def ran(user: str, *arguments: str, **options: Any) -> Result:
        for name, given in variables(secured.settings(user)).items():
            monkeypatch.setenv(name, given)
        settings_module.current.cache_clear()
        _ask.cache_clear()
        return CliRunner().invoke(command, arguments, **options)

    return ran
