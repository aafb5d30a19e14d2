"""A client's address, as proxies write it: with a port, in brackets, with a zone, as IPv4 in IPv6, or not at all."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

TEXT_MAX = 100  # no address with port and zone is longer
_BRACKETED = re.compile(r"\[([^\]]*)\](?::[0-9]{1,5})?")
_WITH_PORT = re.compile(r"([^:]*):[0-9]{1,5}")


@lru_cache(maxsize=4096)
def read_address(text: str) -> str:
    """The address alone, in its shortest form; empty for `unknown` and whatever else is no address (RFC 7239, 6)."""
    text = text.strip()
    if len(text) > TEXT_MAX:
        return ""
    found = _BRACKETED.fullmatch(text) or _WITH_PORT.fullmatch(text)
    host = (text if found is None else found[1]).partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def forwarded_for(forwarded: bytes) -> bytes:
    """The `for` of every hop of a `Forwarded` header, as `X-Forwarded-For` lists them."""
    return b",".join(_for(hop) for hop in forwarded.split(b","))


def _for(hop: bytes) -> bytes:
    for pair in hop.split(b";"):
        name, _, value = pair.partition(b"=")
        if name.strip().lower() == b"for":
            return value.strip().strip(b'"')
    return b""


def client_address(peer: tuple[str, int] | None, forwarded: bytes | None, hops: int) -> str:
    """The client's address: the peer's, or what stands `hops` from the end of X-Forwarded-For; empty if unknown."""
    if hops and forwarded is not None:
        addresses = forwarded.decode("latin-1").split(",")
        return read_address(addresses[-min(hops, len(addresses))])
    return read_address(peer[0]) if peer else ""
