"""The broker's part of `streamapp/access/passwords.py`: `java/FileUsers.java`, as a jar for the class path of a broker.

It is compiled once, beside the jars of Kafka. `python -m streamapp.broker.users FILE` puts it where an image wants it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from streamapp.broker.broker import classpath
from streamapp.broker.jars import held, jars, kafka_dir
from streamapp.errors import Unavailable
from streamapp.extras import java

CLASS = "hanzo.stream.FileUsers"
SOURCE = Path(__file__).with_name("java") / "FileUsers.java"
COMPILER = Path(__file__).with_name("compiler.lock")
COMPILE_S = 120
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file in the jar: the same source makes the same bytes


def compiled(cache_dir: Path) -> Path:
    """The jar; made on first use. Several processes may call at once.

    Raises `Unavailable` when the compiler cannot be fetched or fails.
    """
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    jar = kafka_dir(cache_dir.resolve()) / f"file-users-{digest}.jar"
    if not jar.exists():
        class_path = classpath(cache_dir)
        (compiler,) = jars(cache_dir.resolve(), lock=COMPILER)
        with held(cache_dir / "compile.lock"), tempfile.TemporaryDirectory(dir=jar.parent) as made:
            if not jar.exists():
                _compile(compiler, class_path, Path(made))
                os.replace(_packed(Path(made)), jar)
    return jar


def _compile(compiler: Path, class_path: str, made: Path) -> None:
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


def _packed(made: Path) -> Path:
    jar = made / "made.jar"
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF", EPOCH), "Manifest-Version: 1.0\n\n")
        for file in sorted(made.rglob("*.class")):
            out.writestr(zipfile.ZipInfo(file.relative_to(made).as_posix(), EPOCH), file.read_bytes())
    return jar


if __name__ == "__main__":
    from streamapp.settings import current

    shutil.copyfile(compiled(current().cache_dir), sys.argv[1])
