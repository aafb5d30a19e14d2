"""Ports of one process: no other process is given them, also while nobody listens there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from streamapp.processes.child import BLOCK, PORTS, free_port

CLAIM = "import sys; from streamapp.processes.child import claim_block; print(claim_block(7)[0], flush=True); sys.stdin.read()"


@contextmanager
def claimed() -> Iterator[int]:
    """The first port of another process that wanted block 7, while it lives."""
    with subprocess.Popen([sys.executable, "-c", CLAIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def test_two_processes_have_no_port_in_common_and_a_killed_one_leaves_its_own() -> None:
    with claimed() as first, claimed() as second:
        assert abs(first - second) >= BLOCK
        assert {first, second} <= set(PORTS)
    with claimed() as third:
        assert third <= first


def test_a_port_is_not_given_twice_in_a_row() -> None:
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == 20
    assert max(ports) - min(ports) < BLOCK
