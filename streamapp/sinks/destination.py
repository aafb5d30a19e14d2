"""What keeps records outside Kafka, as the one task of a sink (`sinks/task.py`) needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from streamapp.exact.partition.place import Place
from streamapp.sinks.marks import Extent, Mark

Row = TypeVar("Row")


class Sealed(NamedTuple):
    """A batch as it will be written, and the destination's state behind it: whatever the next batch depends on."""

    content: Any
    state: bytes


class Destination(Generic[Row]):
    """Takes the same batch twice without harm: all that it must do is `write`.

    `keeps_offset`: it keeps the offset behind a batch together with its rows, and what it says in `offsets` counts.
    Otherwise a batch is promised before it is written, so that the next owner writes the same one.
    """

    keeps_offset = False

    def at(self, place: Place) -> Destination[Row]:
        """The destination for a partition that has just been taken over: of a former owner it remembers nothing."""
        return self

    def seal(self, place: Place, extent: Extent, rows: Sequence[Row], state: bytes) -> Sealed:
        """The batch as it will be written; `state` is what the batch before left behind (empty at the beginning). The
        same arguments give the same bytes. Called in a thread."""
        return Sealed(rows, b"")

    async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
        """Keep a batch, all of it or nothing. One that is there already is left alone. Raises `Unavailable` to be asked
        again, `Misconfigured` for what only a person can mend."""
        raise NotImplementedError

    async def holds(self, place: Place, mark: Mark) -> bool:
        """Whether a promised batch is there, whole. False where that is not known: it is written again then. Raises
        `Unavailable` to be asked again."""
        return False

    async def offsets(self, topic: str) -> Mapping[int, int]:
        """partition → the offset to go on at; a partition that was never written is missing. Asked at every takeover of
        a destination that `keeps_offset`. Raises `Unavailable`."""
        return {}
