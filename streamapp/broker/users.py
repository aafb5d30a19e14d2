"""Who may log in to a broker: one file per user, one or two accepted passwords, each as a salted hash.

`java/FileUsers.java` reads them at every login. It is compiled once, beside the jars; production images carry its jar.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from base64 import b64encode
from pathlib import Path

from streamapp.broker.broker import classpath
from streamapp.broker.jars import held, jars, kafka_dir
from streamapp.errors import Refused, Unavailable
from streamapp.extras import java

CLASS = "hanzo.stream.FileUsers"
SOURCE = Path(__file__).with_name("java") / "FileUsers.java"
COMPILER = Path(__file__).with_name("compiler.lock")
COMPILE_S = 120

ITERATIONS = 2_000  # passwords that we make are long and random; the broker counts at every login, of everybody
SALT_BYTES = 16
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)  # as FileUsers has it
ACCEPTED_MAX = 2  # the old and the new password, while one is rotated


def line_of(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """How a user's file holds a password: `pbkdf2-sha256:ITERATIONS:SALT:HASH`."""
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    made = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    return f"pbkdf2-sha256:{iterations}:{b64encode(salt).decode()}:{b64encode(made).decode()}"


def accept(folder: Path, user: str, *lines: str) -> None:
    """From now on the user logs in with one of these (see `line_of`), and with nothing else.

    Raises `Refused` for a name that is none, and for more than two passwords.
    """
    if not NAME.fullmatch(user):
        raise Refused(
            f"{user!r} cannot be a user: 1 to 64 letters, digits, '.', '_' or '-', beginning with one of the first two"
        )
    if len(lines) > ACCEPTED_MAX:
        raise Refused(f"{user} would have {len(lines)} passwords; a broker accepts {ACCEPTED_MAX}")
    new = folder / f".{user}.new"
    new.write_text("".join(f"{line}\n" for line in lines))
    os.replace(new, folder / user)  # a login sees the old file or the new one


def compiled(cache_dir: Path) -> Path:
    """A folder for the broker's class path with the class in it; made on first use. Several processes may call at once.

    Raises `Unavailable` when the compiler cannot be fetched or fails.
    """
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    folder = kafka_dir(cache_dir.resolve()) / f"file-users-{digest}"
    if not folder.exists():
        class_path = classpath(cache_dir)
        (compiler,) = jars(cache_dir.resolve(), lock=COMPILER)
        with held(cache_dir / "compile.lock"):
            if not folder.exists():
                _compile(compiler, class_path, folder)
    return folder


def _compile(compiler: Path, class_path: str, folder: Path) -> None:
    made = folder.with_name(f"{folder.name}.new")
    options = ["-source", "17", "-target", "17", "-cp", class_path, "-d", str(made)]
    done = subprocess.run(
        [java(), "-jar", str(compiler), *options, str(SOURCE)],
        capture_output=True,
        text=True,
        timeout=COMPILE_S,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"{SOURCE.name} could not be compiled: {done.stdout}{done.stderr}")
    os.replace(made, folder)
