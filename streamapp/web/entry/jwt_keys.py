"""Signed tokens: the keys of their issuer, from a file or an address, and what a token must have.

PyJWT checks. Ours is the choice: signatures with a private key only, so that neither `none` nor a public key used as a
shared secret (HS256) is a signature.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt

from streamapp.errors import Misconfigured
from streamapp.loopback import is_loopback
from streamapp.web.entry.secret_file import SecretFile
from streamapp.web.problem import Problem

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
NEEDED = ["exp", "iss", "aud", "sub"]
LEEWAY_S = 10
ANSWER_S = 5.0
TOKEN_MAX = 16_384


class NotAccepted(Exception):
    """The token proves nothing; the message says why, in words that may be shown."""


class Keys:
    """`where` is a file, read again when it changes, or an https URL, asked again every five minutes.

    Raises `Misconfigured` for a file that is no JWKS, and for an address without TLS beyond loopback.
    """

    def __init__(self, where: str, issuer: str, audience: str) -> None:
        self._issuer, self._audience = issuer, audience
        self._file: SecretFile[jwt.PyJWKSet] | None = None
        self._client: jwt.PyJWKClient | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._asking, self._silent_until_s = asyncio.Lock(), 0.0  # by the loop's clock
        parts = urlsplit(where)
        if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname)):
            self._client = jwt.PyJWKClient(where, timeout=ANSWER_S)
            self._thread = ThreadPoolExecutor(1, "jwks")  # it waits for the network: nobody else's threads are used up
        elif parts.scheme == "http":
            raise Misconfigured(f"STREAM_WEB__JWT_KEYS={where} must be https: who can change the keys can be anybody")
        else:
            self._file = SecretFile("STREAM_WEB__JWT_KEYS", Path(where), _key_set)

    async def claims(self, token: str) -> dict[str, Any]:
        """What a valid token says. Raises `NotAccepted`; `Problem` 503 when the keys cannot be fetched."""
        if not token:
            raise NotAccepted("a token is needed")
        if len(token) > TOKEN_MAX:
            raise NotAccepted("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise NotAccepted("the token is not signed with a private key")
            key = await self._key(header.get("kid"))
            found: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": NEEDED},
            )
        except jwt.ExpiredSignatureError:
            raise NotAccepted("the token has expired") from None
        except jwt.InvalidAudienceError:
            raise NotAccepted("the token is for another audience") from None
        except jwt.InvalidIssuerError:
            raise NotAccepted("the token is of another issuer") from None
        except jwt.MissingRequiredClaimError as error:
            raise NotAccepted(f"the token has no {error.claim}") from None
        except (jwt.PyJWTError, ValueError):
            raise NotAccepted("the token is not valid") from None
        return found

    async def _key(self, kid: Any) -> jwt.PyJWK:
        if self._file is not None:
            keys = self._file.value.keys
            matching = [one for one in keys if kid in (None, one.key_id) and one.public_key_use in (None, "sig")]
            if len(matching) != 1:
                raise NotAccepted("the token is signed with a key that is not known")
            return matching[0]
        assert self._client is not None
        if not isinstance(kid, str):
            raise NotAccepted("the token does not name its key")
        loop = asyncio.get_running_loop()
        async with self._asking:  # one at a time, and a silence is as good for a while as an answer
            if loop.time() < self._silent_until_s:
                raise _silent()
            try:
                return await loop.run_in_executor(self._thread, self._client.get_signing_key, kid)
            except jwt.PyJWKClientConnectionError:
                self._silent_until_s = loop.time() + ANSWER_S
                raise _silent() from None
            except jwt.PyJWTError:
                raise NotAccepted("the token is signed with a key that is not known") from None


def _silent() -> Problem:
    return Problem(503, "Nobody can be recognized now", "STREAM_WEB__JWT_KEYS does not answer.")


def _key_set(text: str) -> jwt.PyJWKSet:
    try:
        return jwt.PyJWKSet.from_json(text)
    except (jwt.PyJWTError, ValueError, AttributeError, TypeError):
        raise ValueError("it is no JWKS with a key to verify with") from None
