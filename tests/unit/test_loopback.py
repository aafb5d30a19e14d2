"""Which hosts are this machine: what goes there needs no TLS and no login."""

from __future__ import annotations

import pytest

from streamapp.loopback import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", [None, "", "0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "localhost.example", "127.0.0.1.example", "127.1"]
)
def test_other_machines(host: str | None) -> None:
    assert not is_loopback(host)
