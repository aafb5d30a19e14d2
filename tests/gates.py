"""Every mode of STREAM_WEB__AUTH with somebody of every role, and what an attacker may send instead."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from multidict import CIMultiDict
from pydantic import SecretStr

from streamapp.settings.web import WebSettings
from streamapp.web.entry.identity import digest
from streamapp.web.entry.rights import ROLES, Role

HOST = "pages.test:6066"
ORIGIN = f"http://{HOST}"
PEER = "peer-secret-of-the-tests-0123456789"
METRICS = "metrics-token-of-the-tests-0123456789"
PROXY_SECRET = "proxy-secret-of-the-tests-0123456789"
ISSUER, AUDIENCE = "https://id.test/", "stream-pages"
MODES = ("token", "proxy", "jwt")


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_pem() -> bytes:
    """What everybody may know of the issuer's key."""
    return rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwks() -> str:
    """The issuer's keys."""
    first = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key().public_key()))
    second = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec_key().public_key()))
    keys = [{**first, "kid": "rsa", "use": "sig", "alg": "RS256"}, {**second, "kid": "ec", "use": "sig"}]
    return json.dumps({"keys": keys})


def claims(*roles: str, **changed: Any) -> dict[str, Any]:
    """What a good token says; a claim that is changed to None is left out."""
    now = int(time.time())
    said = {
        "sub": "anna",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 600,
        "roles": list(roles),
        **changed,
    }
    return {name: value for name, value in said.items() if value is not None}


def signed(*roles: str, **changed: Any) -> str:
    """A good token of somebody with these roles."""
    return jwt.encode(claims(*roles, **changed), rsa_key(), "RS256", headers={"kid": "rsa"})


def settings(folder: Path, mode: str, **changed: Any) -> WebSettings:
    """Settings of that mode, with their files."""
    files = {
        "tokens": "".join(f"{role} {role} {digest(token_of(role))}\n" for role in ROLES),
        "metrics": METRICS,
        "peer": PEER,
        "proxy": PROXY_SECRET,
        "jwks.json": jwks(),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    given: dict[str, Any] = {
        "auth": mode,
        "tokens_file": folder / "tokens",
        "metrics_token_file": folder / "metrics",
        "peer_token": SecretStr(PEER),
        "proxy_secret_file": folder / "proxy",
        "jwt_keys": str(folder / "jwks.json"),
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
    }
    return WebSettings(**{**given, **changed})


def token_of(role: str) -> str:
    return f"token-of-a-{role}-0123456789"


def basic(password: str, user: str = "anna") -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def credentials(mode: str, role: Role | None) -> dict[str, str]:
    """The headers of somebody with that role; None: of nobody."""
    if role is None:
        return {}
    match mode:
        case "token":
            return {"Authorization": f"Bearer {token_of(role)}"}
        case "proxy":
            return {
                "X-Stream-Proxy-Secret": PROXY_SECRET,
                "X-Forwarded-User": "anna",
                "X-Forwarded-Groups": f"x, {role}",
            }
        case "jwt":
            return {"Authorization": f"Bearer {signed(role)}"}
    return {}


def multi(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(headers)
