"""A file that one process holds at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from streamapp.errors import Misconfigured, Refused


def take(file: Path) -> int | None:
    """Hold a file while the returned descriptor is open; None when another process does. The folder is made if it is
    not there. Raises `OSError` when that, or the file, cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def taken(file: Path, program: str, variable: str) -> int:
    """The same for the folder of a program that `variable` names. Raises `Refused` when another one uses it,
    `Misconfigured` when it cannot be written."""
    try:
        descriptor = take(file)
    except OSError as error:
        raise Misconfigured(f"{variable}={file.parent} cannot be written: {error}") from None
    if descriptor is None:
        raise Refused(f"another `streamapp {program}` uses {file.parent}; stop it, or set {variable}")
    return descriptor
