"""A real S3 server for tests: it checks signatures, and keeps its objects as files. Built from source once.

python tests/real_s3.py     builds it now, for `make test`
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from go_programs import built

from streamapp.processes.child import Child, free_port, listens
from streamapp.settings import ArchiveSettings

VERSION = "v1.8.0"
MODULE = f"github.com/versity/versitygw/cmd/versitygw@{VERSION}"
BUCKET = "archive"
REGION = "us-east-1"
CACHE_DIR = Path(__file__).parent.parent / ".cache"


def server_program(cache_dir: Path = CACHE_DIR) -> Path:
    """The server, built unless it is there. Several processes may call at once; one builds it.

    Raises `Unavailable` when it cannot be built; the message has Go's words.
    """
    wanted = cache_dir / f"versitygw-{VERSION}" / "versitygw"
    return built(wanted, "install", MODULE)


@dataclass
class S3:
    """A server with one bucket, in a folder of its own. `start` and `stop` keep the objects."""

    folder: Path
    port: int = field(default_factory=free_port)
    access: str = "AKIDARCHIVE"
    secret: str = "not-a-real-secret"
    _server: Child | None = None

    @property
    def bucket(self) -> Path:
        """Where the bucket's objects lie as files."""
        return self.folder / "objects" / BUCKET

    def start(self) -> None:
        """Run it; returns when it answers."""
        from conftest import wait_until

        self.bucket.mkdir(parents=True, exist_ok=True)
        command = ["--port", f"127.0.0.1:{self.port}", "--access", self.access, "--secret", self.secret]
        self._server = Child(
            str(server_program()), [*command, "--region", REGION, "posix", str(self.folder / "objects")], self.log
        )
        wait_until(lambda: listens(self.port))

    def stop(self) -> None:
        """As if the power had gone."""
        if self._server is not None:
            self._server.end(signal.SIGKILL, 10)
            self._server = None

    @property
    def log(self) -> Path:
        return self.folder / "s3.log"

    def settings(self, **changed: object) -> ArchiveSettings:
        """How an archive gets there."""
        values = {
            "url": f"s3://{BUCKET}/trail",
            "endpoint": f"http://127.0.0.1:{self.port}",
            "region": REGION,
            "access_key_id": self.access,
            "secret_access_key": self.secret,
        }
        return ArchiveSettings.model_validate(values | changed)


if __name__ == "__main__":
    sys.stdout.write(f"{server_program()}\n")
