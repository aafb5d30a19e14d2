"""Who may log in to a broker: one file per user, one or two accepted passwords, each as a salted hash.

`broker/java/FileUsers.java` reads the files at every login, and notes in others which password was used when.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path

from streamapp.errors import Misconfigured, Refused

ITERATIONS = 2_000  # passwords that we make are long and random; the broker counts at every login, of everybody
SALT_BYTES = 16
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)  # as FileUsers has it
ACCEPTED_MAX = 2  # the old and the new password, while one is rotated
SINCE = "since"


def line_of(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """How a user's file holds a password: `pbkdf2-sha256:ITERATIONS:SALT:HASH`."""
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    made = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    return f"pbkdf2-sha256:{iterations}:{b64encode(salt).decode()}:{b64encode(made).decode()}"


def salt_of(line: str) -> str:
    """What tells the passwords of a user's file apart, in the notes about logins as well."""
    return line.split(":")[2]


def holds(line: str, password: str) -> bool:
    """Whether a line of a user's file is of this password."""
    _, iterations, salt, _ = line.split(":")
    return hmac.compare_digest(line, line_of(password, b64decode(salt), int(iterations)))


def accepted(folder: Path, user: str) -> tuple[str, ...]:
    """The lines of a user's file, the oldest first; none for who may not log in. Raises `Misconfigured` for a file that
    a broker does not understand, `Refused` for a name that is none."""
    file = folder / _checked(user)
    lines = tuple(file.read_text().split()) if file.exists() else ()
    if len(lines) > ACCEPTED_MAX or any(
        not line.startswith("pbkdf2-sha256:") or line.count(":") != 3 for line in lines
    ):
        raise Misconfigured(
            f"{file} is no file of accepted passwords: one or two lines pbkdf2-sha256:ITERATIONS:SALT:HASH"
        )
    return lines


def accept(folder: Path, user: str, *lines: str) -> None:
    """From now on the user logs in with one of these (see `line_of`), and with nothing else.

    Raises `Refused` for a name that is none, and for more than two passwords.
    """
    if len(lines) > ACCEPTED_MAX:
        raise Refused(f"{user} would have {len(lines)} passwords; a broker accepts {ACCEPTED_MAX}")
    replace(folder / _checked(user), "".join(f"{line}\n" for line in lines), 0o644)  # the broker may be another user


def replace(file: Path, text: str, mode: int) -> None:
    """Put a text in a file's place: whoever reads it sees the old one or the new one, also after a crash. A file that
    is there keeps its mode and its owner."""
    made = file.with_name(f".{file.name}.new")
    made.unlink(missing_ok=True)
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        if file.exists():
            there = file.stat()
            mode = there.st_mode & 0o777
            if (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(made, there.st_uid, there.st_gid)
        os.fchmod(out.fileno(), mode)
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    made.replace(file)


def noted(folder: Path, user: str) -> Mapping[str, int]:
    """What a broker has noted about a user's logins: salt → when that password was used last, and `SINCE` → since when
    it notes; epoch milliseconds by the broker's clock. Empty: nobody has logged in."""
    file = folder / _checked(user)
    rows = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return {about: int(at_ms) for about, at_ms in rows}


def _checked(user: str) -> str:
    if not NAME.fullmatch(user):
        raise Refused(
            f"{user!r} cannot be a user: 1 to 64 letters, digits, '.', '_' or '-', beginning with one of the first two"
        )
    return user
