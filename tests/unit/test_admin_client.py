"""A client of Kafka's administration whose last trace is found by the garbage collector, in the client's own thread."""

from __future__ import annotations

import subprocess
import sys

NOWHERE = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
PROGRAM = f"""
import gc, threading, weakref
from streamapp.kafka.admin_client import AdminClient

gc.disable()
client, collected = AdminClient({NOWHERE}), threading.Event()
gone = weakref.ref(client)
circle = [client]
circle.append(circle)
asked = client.describe_cluster(request_timeout=0.5)
asked.add_done_callback(lambda _: (gc.collect(), collected.set()))
del client, circle
assert collected.wait(30)
AdminClient({NOWHERE})
print("gone" if gone() is None else "kept")
"""


def test_a_client_is_not_ended_by_its_own_thread() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "gone\n"), ended.stderr
