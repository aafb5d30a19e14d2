"""What keeps the batches of a `batch_task.BatchTask`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from streamapp.delivery.batch_codec import Extent, Mark
from streamapp.exact.place import Place
from tables.outcome import Refusal

Row = TypeVar("Row")


class Sealed(NamedTuple):
    """A batch as it will be written, and the sink's state behind it: whatever the next batch depends on."""

    content: Any
    state: bytes


class BatchSink(Protocol[Row]):
    """Keeps batches. Everything but `write` and `holds` is a function of its arguments."""

    def parse(self, records: Sequence[Any]) -> tuple[list[Row], list[Refusal]]:
        """What the records are as rows, in their order, and those that cannot be kept. A row may stand for many of
        them; there is none where all were refused."""

    def seal(self, place: Place, extent: Extent, rows: Sequence[Row], state: bytes) -> Sealed:
        """The batch as it will be written; `state` is what the batch before left behind (empty at the beginning). The
        same arguments give the same bytes. Called in a thread."""

    async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
        """Keep a batch. One that is there already is left alone. Raises `Unavailable` to be asked again."""

    async def holds(self, place: Place, mark: Mark) -> bool:
        """Whether a promised batch is there, whole. False where that is not known: it is written again then. Raises
        `Unavailable` to be asked again."""
