"""Whom the search for an event asks besides Kafka."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from streamapp.dead_letters.read import Coordinates


class Told(NamedTuple):
    """What a worker said; None: it does not answer."""

    worker: str
    value: Any
    problem: str = ""


Ask = Callable[[str, str, Mapping[str, str], Any], Awaitable[list[Told]]]
"""Group, question, its parameters and the type of the answer → what its workers say. Empty: nobody is known."""


class Store(Protocol):
    """Where captured events are kept."""

    async def find(self, uuid: str) -> list[Coordinates]:
        """Where on the topic the rows of this uuid come from. Raises `StreamError`."""


class Objects(Protocol):
    """The archive of a topic's records."""

    async def find(self, at: Coordinates, arrived_ms: int) -> str | None:
        """The name of the object that has a record; None: none that was looked for. Raises `StreamError`."""
