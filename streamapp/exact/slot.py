"""A worker's place on this host: the first free number of its group.

Several workers side by side need a state folder, a web port and a group instance id each; the number gives the first
two, and the port the third. The lock goes with the process, also with one that was killed: its successor takes the same
number, finds its rows and, if the port is free again, its place in the group.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from streamapp.errors import Misconfigured, Refused
from streamapp.processes.lock import take

SLOTS_MAX = 64


@dataclass(frozen=True, slots=True)
class Slot:
    """A taken number. Keep it: the lock lives as long as `descriptor` is open."""

    number: int
    folder: Path
    instance_id: str
    port: int
    descriptor: int


def take_slot(group: str, state_dir: Path, host: str, first_port: int) -> Slot:
    """Take the first free number whose web port is free, too.

    Raises `Misconfigured` when the state folder cannot be written, `Refused` when every number is taken.
    """
    base = state_dir / group
    for number in range(SLOTS_MAX):
        folder = base / f"worker-{number}"
        try:
            descriptor = take(folder / "lock")
        except OSError as error:
            raise Misconfigured(f"STREAM_STATE_DIR={state_dir} cannot be written: {error}") from None
        if descriptor is None:
            continue
        port = _free_port(host, first_port + number if first_port else 0)
        return Slot(number, folder, instance_id(group, socket.gethostname(), host, port), port, descriptor)
    raise Refused(f"{SLOTS_MAX} workers of {group} run from {base} already; give this one its own STREAM_STATE_DIR")


def instance_id(group: str, hostname: str, web_host: str, port: int) -> str:
    """The name of a worker in its group, as `group.instance.id` may be written.

    Its web address is a part of it, because a member that comes back under its name gets its old assignment, which
    carries the address that it had. The port, not the number, is: a host has it once, whatever the state folder.
    """
    return re.sub(r"[^a-zA-Z0-9._-]", "-", f"{group}-{hostname}-{web_host}-{port}")


def _free_port(host: str, wanted: int) -> int:
    """The wanted port, or the next free one: another group's workers may count from the same number."""
    for port in range(wanted, wanted + SLOTS_MAX) if wanted else (0,):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise Refused(f"no free port from {wanted} on {host}; set STREAM_WEB__PORT")
