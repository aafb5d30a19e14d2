"""Which dead letters a command is about: the options that all of them share, and what they print in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from streamapp.cli.group import Choice
from streamapp.cli.moment import Moment
from streamapp.cli.printed import bars
from streamapp.dead_letters.done import Done
from streamapp.dead_letters.plan import Wanted
from streamapp.dead_letters.read import Letter
from streamapp.dead_letters.recent import entry, told
from streamapp.events.names import written
from streamapp.schemas.judging.rejected import Reason
from streamapp.schemas.values.timestamp import format_ms
from streamapp.topics.registry import EVENT_TOPICS

Command = TypeVar("Command", bound=Callable[..., Any])


def filters(command: Command) -> Command:
    """Adds the options that `wanted` reads."""
    reasons = Choice([reason.value for reason in Reason])
    topics = Choice([topic.name for topic in EVENT_TOPICS])
    for option in reversed(
        (
            click.option("--topic", type=topics, help="Dead letters about records of this topic."),
            click.option("--reason", type=reasons, help="Refused for this reason."),
            click.option("--group", help="Refused by this consumer group or producer."),
            click.option("--team", help="Of this team, as the event says, else its key."),
            click.option("--cause", help="Only this cause (fingerprint from `stats`)."),
            click.option("--since", "since_ms", type=Moment(), help="Refused at this time or later."),
            click.option("--until", "until_ms", type=Moment(), help="Refused before this time."),
        )
    ):
        command = option(command)
    return command


def wanted(options: dict[str, Any], **more: Any) -> Wanted:
    """The dead letters meant; what `filters` added is taken out of `options`."""
    names = ("topic", "reason", "group", "team", "cause", "since_ms", "until_ms")
    return Wanted(**{name: options.pop(name) for name in names}, **more)


@contextmanager
def progress(text: str, total: int, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar on standard error; gives what advances it."""
    with bars(shown) as bar:
        task = bar.add_task(text, total=total)
        yield lambda count: bar.advance(task, count)


def source(letter: Letter) -> str:
    """Where the record is, or that it never was there."""
    return letter.topic if letter.record is None else written(letter.record)


def facts(letter: Letter, done: Done) -> dict[str, Any]:
    """A dead letter as plain JSON types, without its bytes, masked."""
    receipt = done.by_letter.get(letter.id)
    return {
        **told(entry(letter), done),
        "group" if letter.is_group else "producer": letter.by,
        "letter": dict(zip(("topic", "partition", "offset"), letter.at, strict=True)),
        "sent": receipt.sent if receipt else None,
        "done_at": format_ms(receipt.at_ms) if receipt else None,
    }
