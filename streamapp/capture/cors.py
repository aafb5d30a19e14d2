"""What a browser needs to be told before it lets a page's script send events here and read the answers."""

from __future__ import annotations

Header = tuple[bytes, bytes]

PREFLIGHT_MAX_AGE_S = b"86400"  # what browsers cap it at, or above
_METHODS: Header = (b"access-control-allow-methods", b"GET, POST, OPTIONS")
_CREDENTIALS: Header = (b"access-control-allow-credentials", b"true")
_EXPOSED: Header = (b"access-control-expose-headers", b"Retry-After")
_VARY: Header = (b"vary", b"Origin")
_VARY_PREFLIGHT: Header = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")


def of(origin: bytes) -> list[Header]:
    """For an answer to a page of this origin. Every origin may send: the token decides."""
    return [(b"access-control-allow-origin", origin), _CREDENTIALS, _EXPOSED, _VARY]


def preflight(origin: bytes | None, wanted: bytes | None) -> list[Header]:
    """For OPTIONS. `wanted`: the headers that the script is going to send."""
    if origin is None:
        return [_METHODS, _VARY_PREFLIGHT]
    allowed: list[Header] = [] if not wanted else [(b"access-control-allow-headers", wanted)]
    age: Header = (b"access-control-max-age", PREFLIGHT_MAX_AGE_S)
    return [(b"access-control-allow-origin", origin), _CREDENTIALS, _METHODS, age, _VARY_PREFLIGHT, *allowed]
