"""The receipts that a person asked for: a JSON line for each record that was sent again.

    {"run": "run_5f0c…", "began_at": "2026-11-26T14:05:00.000Z"}
    {"letter": "evt_…", "topic": "llm_usage", "partition": 3, "offset": 4711, "attempt": 1, "changed": ["value"]}

A run writes its name into the file before it sends anything, and every receipt in the topic has it. So a run that was
killed between a commit and its lines leaves nothing open: the next one that is given the file adds what the topic has
of the file's runs, and the file not.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from streamapp.dead_letters.done import Done, Receipt
from streamapp.errors import Refused, Unavailable
from streamapp.schemas.values.timestamp import format_ms

STARTS = (b'{"letter": "', b'{"run": "')


class Receipts:
    """Those of one run, for whoever reads them as they come; earlier runs are nothing to them. `out` None: for nobody.

    Raises `Unavailable` when a line cannot be written.
    """

    def __init__(self, out: IO[bytes] | None, run: str) -> None:
        self._out, self.run = out, run

    def begin(self, at_ms: int, done: Done) -> None:
        """The run begins to send. `done` is what was done before it."""

    def complete(self, done: Done) -> int:
        """Add the lines that earlier runs did not get to write. How many there were."""
        return 0

    def write(self, receipts: Sequence[Receipt]) -> None:
        """A line for each. They are with the operating system when this returns."""
        self._add(map(_line, receipts))

    def _add(self, lines: Iterator[dict[str, Any]]) -> None:
        if self._out is None:
            return
        left = memoryview(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        try:
            while left:
                left = left[self._out.write(left) :]
            self._out.flush()
        except OSError as error:
            raise Unavailable(
                f"receipts cannot be written: {error.strerror}; what was sent is known, the next run adds its lines"
            ) from None


class ReceiptFile(Receipts):
    """The same in a file that is kept. Raises `Refused` when another run has the file, or it holds something else."""

    def __init__(self, file: IO[bytes], run: str, path: Path) -> None:
        super().__init__(file, run)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two that complete it would write everything twice
        except OSError:
            raise Refused(f"another run writes its receipts to {path}") from None
        self._runs: set[str] = set()
        self._letters: set[str] = set()
        with path.open("rb") as there:
            for number, raw in enumerate(there, 1):
                if not raw.endswith(b"\n") and any(raw.startswith(one) or one.startswith(raw) for one in STARTS):
                    file.truncate(path.stat().st_size - len(raw))  # whoever wrote it was killed
                else:
                    self._note(raw, f"line {number} of {path} is no receipt: give another file")

    def begin(self, at_ms: int, done: Done) -> None:
        self.complete(done)
        self._add(iter([{"run": self.run, "began_at": format_ms(at_ms)}]))

    def complete(self, done: Done) -> int:
        """Of all runs that stand in the file. What the topic does not keep any more is not missed."""
        ours = (one for one in done.by_letter.values() if one.state == "redriven" and one.run in self._runs)
        missing = sorted(
            (one for one in ours if one.letter not in self._letters), key=lambda one: (one.at_ms, one.sent)
        )
        self.write(missing)
        return len(missing)

    def _note(self, raw: bytes, otherwise: str) -> None:
        try:
            line = json.loads(raw)
            names, name = (self._runs, line["run"]) if "run" in line else (self._letters, line["letter"])
        except (ValueError, TypeError, KeyError):
            raise Refused(otherwise) from None
        names.add(name)


@contextmanager
def receipts_to(path: Path | None, standard: IO[bytes], run: str) -> Iterator[Receipts]:
    """Where the receipts of a run go: a file; `-` for standard output; a pipe or a device, which keep nothing; None for
    nowhere."""
    if path is None:
        yield Receipts(None, run)
    elif str(path) == "-":
        yield Receipts(standard, run)
    elif path.exists() and not path.is_file():
        with path.open("wb") as out:
            yield Receipts(out, run)
    else:
        with path.open("ab", buffering=0) as file:
            yield ReceiptFile(file, run, path)


def _line(receipt: Receipt) -> dict[str, Any]:
    assert receipt.sent is not None, receipt
    where = dict(zip(("topic", "partition", "offset"), receipt.sent, strict=True))
    return {"letter": receipt.letter, **where, "attempt": receipt.attempt, "changed": list(receipt.changed)}
