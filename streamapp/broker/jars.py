"""The jars of Apache Kafka: fetched once, verified always.

`jars.lock` names every jar with its SHA-256. Fetching follows the lock and resolves nothing, because resolving
`kafka_2.13` together with a log4j binding silently yields older Kafka clients and a broker that cannot start.
`python -m streamapp.broker.jars lock` writes the lock anew from `roots`, each resolved on its own; with
`VERSION FILE` it writes that file, for another version of Kafka;
`python -m streamapp.broker.jars fetch DIR` fetches into a cache directory; with `FILE`, what that lock names.
"""

from __future__ import annotations

import fcntl
import hashlib
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamapp.errors import Misconfigured, Unavailable
from streamapp.extras import local

KAFKA_VERSION = "4.3.1"
LOCK = Path(__file__).with_name("jars.lock")

TIMEOUT_S = 120  # per file; jgo's own 10 s is too short for the 8 MB ones on a slow line
ATTEMPTS = 4
PARALLEL = 6

Fetch = Callable[[str, Path], Path]
"""(coordinate, empty folder) → the jar, somewhere below that folder. Raises OSError or RuntimeError."""


def jars(cache_dir: Path, *, lock: Path = LOCK, fetch: Fetch | None = None, backoff_s: float = 1.0) -> list[Path]:
    """The class path of the broker and its tools: each jar of the lock, present below `cache_dir` and verified.

    What is missing or damaged is fetched first (about 45 MB, the first time only). Several processes may call at once.
    Raises `Unavailable` with what to do when a jar cannot be had as it was locked.
    """
    wanted = read_lock(lock)
    folder = kafka_dir(cache_dir)
    paths = {coordinate: folder / file_name(coordinate) for coordinate in wanted}
    if any(not _is_whole(paths[coordinate], digest) for coordinate, digest in wanted.items()):
        folder.mkdir(parents=True, exist_ok=True)
        with held(cache_dir / "kafka.lock"):
            # Another process may have fetched them while this one waited.
            missing = [c for c, digest in wanted.items() if not _is_whole(paths[c], digest)]
            _fetch_all({c: wanted[c] for c in missing}, folder, fetch or _download, backoff_s)
    return [paths[coordinate] for coordinate in wanted]


def kafka_dir(cache_dir: Path) -> Path:
    """Where the jars are kept. Those of other locks (another version of Kafka, a compiler) share this folder, which has
    the name of `KAFKA_VERSION`: each file's own name has its version."""
    return cache_dir / f"kafka-{KAFKA_VERSION}"


def present(cache_dir: Path) -> bool:
    """Whether `jars` will need no network. Looks at names only."""
    folder = kafka_dir(cache_dir)
    return all((folder / file_name(coordinate)).exists() for coordinate in read_lock(LOCK))


def read_lock(lock: Path) -> dict[str, str]:
    """Coordinate → SHA-256 in the order of the file."""
    rows: Iterator[list[str]] = (
        line.split() for line in lock.read_text().splitlines() if line.strip() and not line.startswith("#")
    )
    return dict(rows)


def file_name(coordinate: str) -> str:
    """`group:artifact:version` → `artifact-version.jar`; a classifier and a packaging may follow the version."""
    _, artifact, version, *more = coordinate.split(":")
    classifier, packaging = more or ("", "jar")
    return "-".join(filter(None, (artifact, version, classifier))) + f".{packaging}"


def _is_whole(path: Path, digest: str) -> bool:
    return path.exists() and _sha256(path) == digest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Alone among all processes that hold this lock file; waits for the others."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go by the system if this process dies
        yield


def _fetch_all(wanted: dict[str, str], folder: Path, fetch: Fetch, backoff_s: float) -> None:
    # The temporary folder is a sibling: the same file system, so that a rename puts a whole jar there or none.
    with (
        tempfile.TemporaryDirectory(prefix="fetching-", dir=folder.parent) as tmp,
        ThreadPoolExecutor(PARALLEL) as pool,
    ):
        futures = [pool.submit(_fetch_one, c, d, folder, Path(tmp), fetch, backoff_s) for c, d in wanted.items()]
        problems = [problem for future in futures if (problem := future.result()) is not None]
    if problems:
        raise Unavailable(
            f"{len(problems)} of {len(wanted)} jars of Apache Kafka could not be fetched: {problems[0]}. "
            f"Check that this machine reaches a Maven repository (a proxy is taken from HTTPS_PROXY) and start again; "
            f"what was fetched is kept in {folder}"
        )


def _fetch_one(coordinate: str, digest: str, folder: Path, tmp: Path, fetch: Fetch, backoff_s: float) -> str | None:
    """None when the jar is in place, else one sentence. Each attempt starts from an empty folder."""
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            threading.Event().wait(backoff_s * 2 ** (attempt - 1))
        room = tmp / file_name(coordinate) / str(attempt)
        room.mkdir(parents=True)
        try:
            jar = fetch(coordinate, room)
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo raises RuntimeError for a 404
            problem = f"{coordinate}: {type(error).__name__}: {error}"
            continue
        if (got := _sha256(jar)) == digest:
            jar.replace(folder / file_name(coordinate))
            return None
        problem = f"{coordinate} has SHA-256 {got}, the lock says {digest}"
    return problem


def _download(coordinate: str, room: Path) -> Path:
    group, artifact, version, *which = coordinate.split(":")
    context = _maven(room)
    path: Path = context.project(group, artifact).at_version(version).artifact(*which).resolve()
    return path


def _maven(room: Path) -> Any:
    maven = local("jgo.maven")
    return maven.MavenContext(resolver=maven.PythonResolver(), repo_cache=room, timeout=TIMEOUT_S)


def roots(version: str) -> tuple[tuple[str, bool], ...]:
    """(coordinate, whether its dependencies are wanted): the tools need Kafka's own jars only, not Connect's web
    server."""
    return (
        (f"org.apache.kafka:kafka_2.13:{version}", True),
        (f"org.apache.kafka:kafka-tools:{version}", False),
        ("org.apache.logging.log4j:log4j-slf4j-impl:2.25.4", True),
    )


def resolve(room: Path, version: str = KAFKA_VERSION) -> dict[str, str]:
    """Coordinate → SHA-256 of what `roots` need, sorted. Raises `Misconfigured` if two roots want two versions."""
    context = _maven(room)
    found: dict[str, str] = {}
    for root, with_dependencies in roots(version):
        dependency = context.create_dependency(root)
        resolved = context.resolver.resolve([dependency])[1] if with_dependencies else []
        for item in (dependency, *(d for d in resolved if d.scope in ("compile", "runtime", None))):
            project = f"{item.groupId}:{item.artifactId}"
            if found.setdefault(project, item.version) != item.version:
                raise Misconfigured(f"{root} wants {project}:{item.version}, another root {found[project]}")
    coordinates = sorted(f"{project}:{version}" for project, version in found.items())
    return {coordinate: _sha256(_download(coordinate, room)) for coordinate in coordinates}


def main(arguments: list[str]) -> None:
    """`lock`: write `jars.lock` anew, or the file of another version. `fetch DIR [FILE]`: see `jars`."""
    match arguments:
        case ["fetch", folder]:
            if not present(Path(folder)):
                sys.stdout.write(f"fetching Apache Kafka {KAFKA_VERSION} (45 MB, once) ...\n")
            jars(Path(folder))
        case ["fetch", folder, lock]:
            jars(Path(folder), lock=Path(lock))
        case ["lock"]:
            _write_lock(LOCK, KAFKA_VERSION)
        case ["lock", version, file]:
            _write_lock(Path(file), version)
        case _:
            sys.exit("usage: python -m streamapp.broker.jars lock [VERSION FILE] | fetch DIR [FILE]")


def _write_lock(lock: Path, version: str) -> None:
    with tempfile.TemporaryDirectory() as room:
        rows = resolve(Path(room), version)
    comments = [line for line in lock.read_text().splitlines() if line.startswith("#")] if lock.exists() else []
    lock.write_text("\n".join([*comments, *(f"{c} {d}" for c, d in rows.items())]) + "\n")
    sys.stdout.write(f"{len(rows)} jars\n")


if __name__ == "__main__":
    main(sys.argv[1:])
