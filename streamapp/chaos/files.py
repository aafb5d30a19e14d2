"""What a broken disk does to a worker's rows: files overwritten, or one bit turned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

RUBBISH = b"\x00rubbish" * 100


def overwrite(file: Path) -> None:
    """Nothing of it can be read any more."""
    file.write_bytes(RUBBISH)


def turn_bit(file: Path, at: int | None = None) -> None:
    """One bit is wrong, in the byte at `at` or in the middle: the file opens, and says what nobody wrote."""
    data = bytearray(file.read_bytes())
    if data:
        data[len(data) // 2 if at is None else at] ^= 1
        file.write_bytes(data)


HARMS: tuple[tuple[str, Callable[[Path], None]], ...] = (
    ("CURRENT", overwrite),
    ("MANIFEST-*", overwrite),
    ("*.sst", turn_bit),
    ("*.log", overwrite),
    ("OPTIONS-*", overwrite),
    ("*.sst", overwrite),
    ("*.log", turn_bit),
)
"""What is found of these in a partition's folder is harmed, and how."""


def spoil(folder: Path, first: int = 0) -> int:
    """Harm each partition's rows below `folder`, each in another way, beginning with harm number `first`. Returns the
    number to go on with the next time."""
    tables = sorted(path.parent for path in folder.glob("*/*/*/CURRENT"))
    for number, table in enumerate(tables, first):
        pattern, harm = HARMS[number % len(HARMS)]
        for file in table.glob(pattern):
            harm(file)
    return first + len(tables)
