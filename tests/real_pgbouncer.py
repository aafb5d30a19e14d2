"""A real PgBouncer in transaction mode before the PostgreSQL of the tests. It leaves nothing."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
from conftest import wait_until

from streamapp.processes.child import free_port

# Two servers for each database, handed out in turn: a client meets another one at nearly every transaction.
CONFIG = """\
[databases]
* = {target}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
server_round_robin = 1
"""


@contextmanager
def pgbouncer_server(postgres_url: str) -> Iterator[str]:
    """The same database through PgBouncer: yields its URL."""
    parts, port = urlsplit(postgres_url), free_port()
    target = f"host={parts.hostname or parse_qs(parts.query)['host'][0]} user={parts.username or 'postgres'}"
    target += f" port={parts.port}" if parts.port else ""
    # Outside pytest's own folders, which are shut to other users: PgBouncer does not run as root.
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    config = folder / "pgbouncer.ini"
    config.write_text(CONFIG.format(target=target, port=port))
    command = [shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", "-q", str(config)]
    if os.geteuid() == 0:
        # The socket of the tests' PostgreSQL is open to its own user alone.
        owner = pwd.getpwuid(Path(parse_qs(parts.query)["host"][0]).stat().st_uid).pw_name
        shutil.chown(folder, owner)
        command[1:1] = ["-u", owner]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        url = f"postgresql://postgres@127.0.0.1:{port}{parts.path}"

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                psycopg.connect(url, connect_timeout=2).close()
            except psycopg.OperationalError:
                return False
            return True

        try:
            wait_until(answers)
            yield url
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(folder)
