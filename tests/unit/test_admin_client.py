"""A client of Kafka's administration whose last trace is found by the garbage collector, in the client's own thread."""

from __future__ import annotations

import subprocess
import sys

import pytest

NOWHERE = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
OWN = f"""
client = AdminClient({NOWHERE})
circle = [client]
circle.append(circle)
gone = weakref.ref(client)
"""
ADMINS = """
admin = Admin(KafkaSettings(bootstrap_servers="127.0.0.1:1", allow_plaintext=True))
client, circle = admin._client, [admin]
circle.append(circle)
gone = weakref.ref(admin)
del admin
"""
PROGRAM = """
import gc, threading, weakref
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.settings import KafkaSettings

gc.disable()
collected = threading.Event()
{made}
asked = client.describe_cluster(request_timeout=0.5)
asked.add_done_callback(lambda _: (gc.collect(), collected.set()))
del client, circle
{before}
assert collected.wait(30)
AdminClient({nowhere})
print("gone" if gone() is None else "kept")
"""
AGAIN = f"gc.collect(); AdminClient({NOWHERE})"  # found twice: here, and in its thread


@pytest.mark.parametrize("before", ["", AGAIN], ids=["at once", "found before"])
@pytest.mark.parametrize("made", [OWN, ADMINS], ids=["client", "admin"])
def test_a_client_is_not_ended_by_its_own_thread(made: str, before: str) -> None:
    program = PROGRAM.format(made=made, before=before, nowhere=NOWHERE)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "gone\n"), ended.stderr
