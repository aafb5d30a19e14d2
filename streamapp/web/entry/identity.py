"""Who asks: each mode of STREAM_WEB__AUTH is one class that makes an `Asker` of a request's headers.

None of them keeps a session, and nobody logs in here: a browser or a proxy sends its credentials with every request.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol, TypeVar

from multidict import CIMultiDict, CIMultiDictProxy

from streamapp.errors import Misconfigured
from streamapp.settings.web import WebSettings
from streamapp.web.entry.jwt_keys import Keys, NotAccepted
from streamapp.web.entry.rights import ROLES, Role, names
from streamapp.web.entry.secret_file import SecretFile, secrets
from streamapp.web.problem import Problem

T = TypeVar("T")
Headers = CIMultiDict[str] | CIMultiDictProxy[str]

HOW = "The operator's guide is docs/security.md."
NAME_MAX = 200


@dataclass(frozen=True, slots=True)
class Asker:
    """Somebody, and the roles they have. `peer`: another worker asks for them."""

    name: str
    roles: frozenset[Role]
    peer: bool = False


NOBODY = Asker("", frozenset())
EVERYBODY = Asker("", frozenset(ROLES) - {"auditor"})
"""Who asks when AUTH is none: they may do everything but what is kept under a name."""


class Identity(Protocol):
    """One mode."""

    async def who(self, headers: Headers) -> Asker:
        """Who asks. Raises `Problem` 401 or 403 when that is not proven."""


class Everybody:
    """`none`: whoever reaches the loopback interface."""

    async def who(self, headers: Headers) -> Asker:
        return EVERYBODY


class Tokens:
    """`token`: the lines `name role sha256` of a file; the token as a bearer, or as the password of HTTP Basic."""

    def __init__(self, path: Path) -> None:
        self._file = SecretFile("STREAM_WEB__TOKENS_FILE", path, askers)

    async def who(self, headers: Headers) -> Asker:
        found = self._file.value.get(digest(token)) if (token := presented(headers)) else None
        if found is None:
            challenge = 'Basic realm="Hanzo Stream", charset="UTF-8"'
            advice = f"Give a token as the password (any user name), or as a bearer token. {HOW}"
            raise Problem(401, "Who asks?", advice, headers={"WWW-Authenticate": challenge})
        return found


class Proxied:
    """`proxy`: headers of a proxy, which proves with a secret that it is the proxy: an address proves nothing."""

    def __init__(self, web: WebSettings, path: Path) -> None:
        self._secrets = SecretFile("STREAM_WEB__PROXY_SECRET_FILE", path, secrets)
        self._secret, self._user, self._groups = web.proxy_secret_header, web.proxy_user_header, web.proxy_groups_header
        self._roles = mapping(web.roles)

    async def who(self, headers: Headers) -> Asker:
        given = _one(headers, self._secret).encode("utf-8", "surrogateescape")
        known = [hmac.compare_digest(digest_of(given), digest_of(one)) for one in self._secrets.value]
        if not any(known):
            raise Problem(403, "Ask through the proxy", f"This address answers only its proxy. {HOW}")
        user, groups = _one(headers, self._user).strip()[:NAME_MAX], _one(headers, self._groups)
        if not user:
            raise Problem(403, "The proxy does not say who asks", f"It must set {self._user}. {HOW}")
        return Asker(user, granted(groups.split(","), self._roles))


class Jwt:
    """`jwt`: a signed token of an issuer, in a header that a client or a proxy sets."""

    def __init__(self, web: WebSettings, keys: Keys) -> None:
        self._header, self._claim, self._keys, self._roles = (
            web.jwt_header,
            web.jwt_roles_claim,
            keys,
            mapping(web.roles),
        )

    async def who(self, headers: Headers) -> Asker:
        token = bearer(headers) if self._header.lower() == "authorization" else _one(headers, self._header)
        try:
            claims = await self._keys.claims(token)
        except NotAccepted as error:
            headers_ = {"WWW-Authenticate": 'Bearer realm="Hanzo Stream"'}
            raise Problem(401, "Who asks?", f"{error}. {HOW}", headers=headers_) from None
        listed = claims.get(self._claim)
        groups = listed.replace(",", " ").split() if isinstance(listed, str) else listed
        texts = [one for one in groups if isinstance(one, str)] if isinstance(groups, list) else []
        return Asker(str(claims["sub"])[:NAME_MAX], granted(texts, self._roles))


def identity(web: WebSettings) -> Identity:
    """The mode that the settings ask for. Raises `Misconfigured` that names what is missing."""
    match web.auth:
        case "none":
            return Everybody()
        case "token":
            return Tokens(_needed(web.tokens_file, "token", "TOKENS_FILE"))
        case "proxy":
            return Proxied(web, _needed(web.proxy_secret_file, "proxy", "PROXY_SECRET_FILE"))
    keys = _needed(web.jwt_keys, "jwt", "JWT_KEYS")
    issuer, audience = _needed(web.jwt_issuer, "jwt", "JWT_ISSUER"), _needed(web.jwt_audience, "jwt", "JWT_AUDIENCE")
    return Jwt(web, Keys(keys, issuer, audience))


def _needed(value: T | None, mode: str, name: str) -> T:
    if value is None:
        raise Misconfigured(f"STREAM_WEB__AUTH={mode} needs STREAM_WEB__{name}")
    return value


def askers(text: str) -> dict[str, Asker]:
    """The lines of a tokens file → by digest. Raises ValueError that names the line, never what stands in it."""
    found: dict[str, Asker] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or len(words[2]) != 64 or not set(words[2].lower()) <= set("0123456789abcdef"):
            raise ValueError(f"line {number} is not `name role sha256-of-token`")
        if words[2].lower() in found:
            raise ValueError(f"line {number} has the token of an earlier line")
        try:
            found[words[2].lower()] = Asker(words[0], names(words[1]))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return found


def mapping(text: str) -> Mapping[str, frozenset[Role]]:
    """`staff=viewer,oncall=operator` → group → roles. Raises `Misconfigured`."""
    found: dict[str, frozenset[Role]] = {} if text.strip() else {role: frozenset({role}) for role in ROLES}
    for item in filter(None, (part.strip() for part in text.split(","))):
        group, mark, role = item.rpartition("=")
        try:
            if not mark or not group:
                raise ValueError(f"{item!r} is not group=role")
            found[group] = found.get(group, frozenset()) | names(role)
        except ValueError as error:
            raise Misconfigured(f"STREAM_WEB__ROLES is not usable: {error}") from None
    return found


def granted(groups: Iterable[str], roles: Mapping[str, frozenset[Role]]) -> frozenset[Role]:
    """The roles that these groups have together."""
    nothing: frozenset[Role] = frozenset()
    return nothing.union(*(roles.get(group.strip(), nothing) for group in groups))


def presented(headers: Headers) -> str:
    """The bearer token, or the password of HTTP Basic; empty when there is neither."""
    kind, _, rest = _one(headers, "Authorization").partition(" ")
    if kind.lower() != "basic":
        return bearer(headers)
    try:
        return b64decode(rest.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def bearer(headers: Headers) -> str:
    """The bearer token; empty when there is none."""
    kind, _, token = _one(headers, "Authorization").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def digest(token: str) -> str:
    """As it stands in a tokens file."""
    return digest_of(token.encode("utf-8", "surrogateescape")).hex()


def digest_of(secret: bytes) -> bytes:
    """Of one length, whatever was given: comparing tells nothing of it."""
    return sha256(secret).digest()


def _one(headers: Headers, name: str) -> str:
    """A header that must be there once: a second one may be somebody else's."""
    found = headers.getall(name, ())
    if len(found) > 1:
        raise Problem(403, f"{name} is there twice", "A proxy must replace what a client sends, not add to it.")
    return found[0] if found else ""
