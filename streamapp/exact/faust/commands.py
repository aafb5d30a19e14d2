"""Commands of Faust that do not work in our apps as they are.

`completion` asks for a package of its own; click has completion built in. `models` lists Faust's records; ours are the
event types of the group's topics.
"""

from __future__ import annotations

from typing import Any

from click.shell_completion import BashComplete, get_completion_class
from faust.cli.base import cli
from faust.cli.completion import completion
from faust.cli.models import models

from streamapp.access.wanted import topics_of
from streamapp.schemas.catalog import CATALOG


def use_ours() -> None:
    """For this process."""
    completion.run = show_completion
    models.run = show_models


async def show_completion(self: Any) -> None:
    """Print the code that makes a shell complete the words of `faust`."""
    made = get_completion_class(self.shell()) or BashComplete  # of $SHELL
    self.say(made(cli, {}, "faust", "_FAUST_COMPLETE").source())


async def show_models(self: Any, *, builtins: bool = False) -> None:
    """List the event types that the group reads and writes."""
    topics = topics_of(self.app.conf.id)
    rows = [(one.event_type, _first_line(one.model.__doc__)) for one in CATALOG if one.topic in topics]
    if builtins:
        rows += [tuple(self.model_to_row(model)) for model in self.models(builtins)]
    self.say(self.tabulate(rows, headers=self.headers, title=self.title))


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
