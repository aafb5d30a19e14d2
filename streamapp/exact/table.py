"""A declared table of a Faust app: `app.tables` and Faust's commands know it, Faust's own recovery does not.

Its rows are read here and changed nowhere but in chunks: `fold` hands a chunk to the partition it was fetched for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import faust

from streamapp.errors import Refused
from streamapp.exact.declaration import Declaration
from streamapp.exact.faust.failstop import failstop
from streamapp.exact.partition.chunk import Chunk
from streamapp.exact.partition.owned import Partition
from streamapp.exact.partition.task import Keeps
from streamapp.exact.windows import Side, Windows
from streamapp.metrics import GroupMetrics
from streamapp.store.rows import Store
from streamapp.store.table import RowKey


class ReadOnlyTopic(faust.Topic):
    """What agents read. `faust send` writes what nobody has judged, to any partition."""

    async def send(self, **options: Any) -> Any:
        reason = (
            f"`faust send` would write to {self.get_topic_name()} what nobody has judged; send events to "
            "`streamapp capture`, or with `streamapp.kafka.producer`"
        )
        failstop(Refused(reason), "sending")


class ExactTable(faust.Table):
    """The rows of the partitions in hand, by their keys as people read them: `table["month", "2025-01", …]`; and by
    windows: `table["hour", "org_a", "team_a", "USD"].current()` (`exact/windows.py`).

    Read-only, and as of the last commit. `view` is what the pages show of it.
    """

    def __init__(self, app: Any, declaration: Declaration, **options: Any) -> None:
        assert app.conf.id == declaration.group, f"{declaration.name} is a table of {declaration.group}"
        self.declaration = declaration
        super().__init__(app, name=declaration.name, help=declaration.about, **options)
        self.source = app.chunk_topic(declaration.source.topic)
        self.metrics = metrics = GroupMetrics(declaration.group, declaration.role)
        self.view = declaration.view(app, self.metrics, app.clock, declaration.rows)
        self.takeover = declaration.takeover(app.settings, app.clock, metrics.committed)
        app.own(declaration.source.topic, self.takeover)
        app.ownership.taken = self.view.taken
        app.ownership.rebalanced, app.ownership.took_over = self._rebalanced, metrics.took_over

    def _rebalanced(self) -> None:
        self.metrics.rebalances.inc()
        self.view.rebalanced()

    async def fold(self, chunk: Chunk) -> None:
        """One chunk: rows, statements, dead letters and the source offset in one transaction, or nothing. Returns when
        it is under way and every chunk before it has committed."""
        await chunk.partition.apply(chunk)

    # -- rows, read-only -----------------------------------------------------------------------------------------

    def __getitem__(self, key: RowKey) -> Any:
        """The row of this key. Of a key without the start of its window: its `Windows`. A table with windows of one
        kind needs no name of the kind there. Raises KeyError where no partition in hand has such a row."""
        rows = self.declaration.rows
        try:
            raw = rows.readable_key(key)
        except ValueError as error:
            windows = self._windows_of(key)
            if windows is None:
                raise KeyError(key) from error
            return windows
        for task in self._in_hand().values():
            value = task.store.get(raw)
            if value is not None:
                return rows.readable(raw, value)[1]
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        """Whether there is a row of this key; of a key without its window: whether its current window has one."""
        try:
            found = self[key]  # type: ignore[index]  # whatever is no key is not there
            if isinstance(found, Windows):
                found.current()
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[RowKey]:
        return self.keys()

    def __len__(self) -> int:
        return sum(1 for _ in self.items())

    def get(self, key: RowKey, default: Any = None) -> Any:
        """As of a dict."""
        try:
            return self[key]
        except KeyError:
            return default

    def keys(self, partition: int | None = None) -> Iterator[RowKey]:
        """The key of every row, one partition in hand after the other, or of one partition."""
        return (key for key, _ in self.items(partition))

    def values(self, partition: int | None = None) -> Iterator[Any]:
        """Every row, likewise."""
        return (row for _, row in self.items(partition))

    def items(self, partition: int | None = None) -> Iterator[tuple[RowKey, Any]]:
        """Key and row of every row, likewise."""
        rows = self.declaration.rows
        for number, task in self._in_hand().items():
            if partition in (None, number):
                for raw, value in task.store.scan(rows.first, rows.last):
                    if raw[0] in rows.kinds:
                        yield rows.readable(raw, value)

    def _windows_of(self, key: Any) -> Windows | None:
        rows = self.declaration.rows
        if not isinstance(key, tuple) or not key:
            return None
        name, rest = key[0], key[1:]
        if name not in rows.windows:
            if len(rows.windows) != 1:
                return None
            (name,), rest = rows.windows, key

        def sides() -> Iterator[Side]:
            for task in self._in_hand().values():
                yield Side(task.watermark_ms, partial(row_at, task.store))

        def row_at(store: Store, start_ms: int) -> Any:
            raw = rows.readable_key((name, start_ms, *rest))
            value = store.get(raw)
            return None if value is None else rows.readable(raw, value)[1]

        try:
            rows.readable_key((name, 0, *rest))
        except ValueError:
            return None
        return Windows(key, rows.windows[name], sides, self.app.clock, self._read_only)

    def _in_hand(self) -> dict[int, Keeps]:
        partitions: dict[int, Partition] = self.app.ownership.partitions
        tasks = ((number, partition.task) for number, partition in sorted(partitions.items()))
        return {number: task for number, task in tasks if isinstance(task, Keeps)}

    def _read_only(self) -> TypeError:
        return TypeError(
            f"rows of {self.name} change in chunks only: `await {self.name}.fold(chunk)` in the agent; to put wrong "
            f"rows right, `streamapp replay --recompute --table {self.name}`"
        )

    def _refuse_change(self, *args: Any, **kwargs: Any) -> Any:
        raise self._read_only()

    __setitem__ = __delitem__ = __ior__ = _refuse_change
    clear = pop = popitem = setdefault = update = send_changelog = _refuse_change

    def using_window(self, *args: Any, **kwargs: Any) -> Any:
        """Windows of an exact table are declared with it: `hopping` and `tumbling` come here, too."""
        raise TypeError(
            f"the windows of {self.name} are declared with the table: `window` and `rows` of its TableDeclaration"
        )

    # -- what Faust does to its own tables -----------------------------------------------------------------------

    def reset_state(self) -> None:
        """`faust reset` would leave a table whose rows are behind its offsets."""
        again = self.declaration.again or f"`streamapp replay --group {self.declaration.group}`"
        reason = (
            f"the rows of {self.name} come back from its changelog by themselves: there is nothing to reset. To read "
            f"records again: {again}. To start a new table, see "
            f"docs/runbook.md, A new table"
        )
        failstop(Refused(reason), "resetting a table")

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        """`Ownership` restores rows."""

    async def on_recovery_completed(self, *args: Any, **kwargs: Any) -> None:
        """`Ownership` restores rows."""

    async def on_start(self) -> None:
        """There is no store of Faust's to open."""

    def persisted_offset(self, tp: Any) -> int | None:
        return None


class Sink(ExactTable):
    """What a destination outside Kafka has of the partitions in hand: how far it is, and whatever else its rows say."""

    async def keep(self, chunk: Chunk) -> None:
        """One chunk: gathered into a batch that is kept once, with its dead letters and the source offset. Returns when
        what is due is under way and every batch before it is kept."""
        await self.fold(chunk)
