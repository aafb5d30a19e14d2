"""Whether a secret is where somebody may read it: in logs and other files, on command lines, in environments."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

LOOK_S = 0.2
PLACES = ("cmdline", "environ")


class Watched:
    """What every process of this machine shows of itself while the block runs: `places` that hold a secret. `secrets`
    is asked again at each look."""

    def __init__(self, secrets: Callable[[], Collection[bytes]]) -> None:
        self._secrets = secrets
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.places: set[str] = set()
        self.looks = 0

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def look(self) -> None:
        secrets = self._secrets()
        for process in Path("/proc").glob("[0-9]*"):
            for name in PLACES:
                with suppress(OSError):  # ended, or somebody else's
                    shown = (process / name).read_bytes()
                    if any(secret in shown for secret in secrets):
                        self.places.add(f"{process.name} {name}: {shown[:200]!r}")
        self.looks += 1

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            self.look()


def spilled(secrets: Collection[bytes], *folders: Path, apart_from: Iterable[str] = ()) -> list[str]:
    """The files below these folders that hold a secret, apart from those of these names, which nobody else may read."""
    private, found = set(apart_from), []
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        if any(secret in path.read_bytes() for secret in secrets):
            is_private = path.name in private and not path.stat().st_mode & 0o077
            if not is_private:
                found.append(str(path))
    return found


def secrets_below(folder: Path) -> list[bytes]:
    """The passwords that `Secured` made."""
    return [path.read_bytes() for path in (folder / "secrets").glob("*") if path.is_file()]
