"""The producers of `streamapp contract export` in other languages, ready to run: built or compiled once.

python tests/foreign_producers.py          builds them now, for `make test`
python tests/foreign_producers.py rust     also the one in Rust, for `make test-all`
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from go_programs import BUILD_TIMEOUT_S, built
from sdk_packages import NODE, packages

from streamapp.broker import users
from streamapp.broker.broker import classpath
from streamapp.broker.jars import held, jars
from streamapp.contract.kit import write
from streamapp.extras import java
from streamapp.settings import KafkaSettings

CACHE_DIR = Path(__file__).parent.parent / ".cache"
FOREIGN = Path(__file__).parent / "foreign"
RUST_LOCK = Path(__file__).parent / "rust-producer.lock"
RUN_S = 120


def go(kit: Path, cache_dir: Path) -> list[str]:
    """Compiled with Go, which comes as a Python package."""
    sources = kit / "clients" / "go"
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(sources.iterdir()))).hexdigest()[:12]
    return [str(built(cache_dir / f"go-producer-{digest}" / "producer", "build", ".", sources=sources).resolve())]


def typescript(kit: Path, cache_dir: Path) -> list[str]:
    """Node takes the types away by itself."""
    sources = kit / "clients" / "typescript"
    modules = sources / "node_modules"
    if not modules.exists():
        modules.symlink_to(packages(cache_dir, FOREIGN))
    return [str(NODE), str(sources / "main.ts")]


def java_(kit: Path, cache_dir: Path) -> list[str]:
    """With the jars of the embedded broker, and the compiler that makes its part of the logins."""
    sources, made = kit / "clients" / "java", kit / "classes"
    (compiler,) = jars(cache_dir.resolve(), lock=users.COMPILER)
    class_path = classpath(cache_dir)
    options = ["-source", "17", "-target", "17", "-cp", class_path, "-d", str(made)]
    output_of([java(), "-jar", str(compiler), *options, *map(str, sorted(sources.glob("*.java")))], {})
    return [java(), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{made}:{class_path}", "Main"]


def rust(kit: Path, cache_dir: Path) -> list[str]:
    """Compiled with Cargo, librdkafka with it: three minutes of one processor. Kept in the cache."""
    sources = kit / "clients" / "rust"
    files = sorted(file for file in sources.rglob("*") if file.is_file())
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in (*files, RUST_LOCK))).hexdigest()[:12]
    program = cache_dir.resolve() / f"rust-producer-{digest}"
    with held(program.with_suffix(".lock")):
        if not program.exists():
            cargo = shutil.which("cargo")
            assert cargo is not None, "Cargo is missing: `make cargo` says how to install it"
            room = cache_dir.resolve() / f"rust-building-{digest}"
            manifest = ["--quiet", "--manifest-path", str(sources / "Cargo.toml")]
            output_of([cargo, "generate-lockfile", *manifest], os.environ, BUILD_TIMEOUT_S)
            _lock(sources / "Cargo.lock")
            output_of([cargo, "build", "--locked", "--target-dir", str(room), *manifest], os.environ, BUILD_TIMEOUT_S)
            os.replace(room / "debug" / "producer", program)
            shutil.rmtree(room)
    return [str(program)]


def _lock(made: Path) -> None:
    """Our lock, with the registry that Cargo has written into its own: ours names packages, versions and checksums."""
    (source,) = set(re.findall(r"^source = .*$", made.read_text(), re.MULTILINE))
    made.write_text(RUST_LOCK.read_text().replace("\nchecksum", f"\n{source}\nchecksum"))


SLOW = "rust"
LANGUAGES: Mapping[str, Callable[[Path, Path], list[str]]] = {
    "go": go,
    "typescript": typescript,
    "java": java_,
    SLOW: rust,
}


def output_of(command: Sequence[str], environment: Mapping[str, str], timeout_s: float = RUN_S) -> str:
    """What it prints. Fails with its errors."""
    done = subprocess.run(
        list(command), env=dict(environment), capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def environment(kafka: KafkaSettings) -> dict[str, str]:
    """Where a client finds Kafka, and who it is."""
    return {
        "KAFKA_BOOTSTRAP": kafka.bootstrap_servers,
        "KAFKA_USER": kafka.sasl_username or "",
        "KAFKA_PASSWORD_FILE": str(kafka.sasl_password_file),
        "KAFKA_CA_FILE": str(kafka.ssl_ca_file),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        sys.stdout.write(f"{go(Path(folder), CACHE_DIR)[0]}\n")
        sys.stdout.write(f"{packages(CACHE_DIR, FOREIGN)}\n")
        if SLOW in sys.argv:
            sys.stdout.write(f"{rust(Path(folder), CACHE_DIR)[0]}\n")
