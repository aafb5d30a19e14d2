"""`streamapp archive` while the store is away: 69 each time, whatever the store's client does at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from searches import of

from streamapp.processes.child import free_port

RUNS = of(50)  # before, one in twelve aborted: eight find it in every second run of the tests


def test_the_store_that_is_away_is_69_each_time() -> None:
    environment = os.environ | {
        "STREAM_ARCHIVE__URL": "s3://bucket/trail",
        "STREAM_ARCHIVE__ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "STREAM_ARCHIVE__ACCESS_KEY_ID": "key",
        "STREAM_ARCHIVE__SECRET_ACCESS_KEY": "secret",
        "STREAM_ARCHIVE__TIMEOUT_SECONDS": "1",
    }

    def once(number: int) -> tuple[int, str]:
        how = ["verify", "--no-kafka"] if number % 2 else ["ls"]
        command = [sys.executable, "-m", "streamapp", "archive", *how]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
        return done.returncode, done.stderr

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(once, range(RUNS)))
    assert {code for code, _ in found} == {69}
    assert all("the archive does not answer" in said for _, said in found)
