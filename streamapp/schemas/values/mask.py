"""What is a secret: by the name of its field, by its place, by its looks. `mask_json` masks whole values with it.

Masking never raises, and changes nothing when it is done again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any
from urllib.parse import unquote_plus

MASKED = "[masked]"
EMAIL = "[e-mail]"
NAMES_MAX = 256  # characters; a longer text names no field

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS = frozenset(
    (
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "secrets",
        "token",
        "authorization",
        "auth",
        "bearer",
        "cookie",
        "credential",
        "credentials",
        "apikey",
        "accesskey",
        "privatekey",
        "secretkey",
        "passcode",
        "pincode",
        "otp",
        "totp",
        "dsn",
        "cookies",
        "jwt",
        "mnemonic",
        "cvv",
        "cvc",
    )
)
_SECRET_PAIRS = frozenset(
    {
        *((of, "key") for of in ("api", "access", "private", "secret", "signing")),
        *((of, "keys") for of in ("api", "access", "private", "secret")),
        *((of, "tokens") for of in ("access", "refresh", "api", "auth", "bearer")),
        *((of, what) for of in ("recovery", "backup") for what in ("code", "codes")),
        ("pin", "code"),
        ("pass", "code"),
        ("connection", "string"),
        ("seed", "phrase"),
    }
)
_SECRET_LAST = frozenset({"pass", "pin"})  # `user_pass`; a `pass_rate` is none
_QUERY_ONLY = frozenset({"sig", "signature"})  # of signed URLs
# What names a field beside its value, and where the value stands then: `{"field": "password", "old": …, "new": …}`.
_NAMING = frozenset(
    {"field", "name", "key", "type", "attribute", "attr", "property", "column", "path", "header", "param"}
)
_NAMED = frozenset(
    {"value", "values", "old", "new", "before", "after", "from", "to", "previous", "current", "content", "data"}
)
_NAMED_WORDS = frozenset({"value", "old", "new", "before", "after", "previous", "current"})
_PARAMETER = re.compile(r"((?:[?&#;]|\A(?=\S+\Z))\s*([^=&#?;\s]{1,100})=)([^&#;\s\"'<>]+)")
_USER_INFORMATION = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/@?#\"'<>]+(?:@[^\s/@?#\"'<>]*)*(?=@)")

_NAME = (
    r"[\w-]{0,40}(?:passw(?:or)?d|passphrase|pwd|secret|token(?!s)|authorization|cookie|credentials?|"
    r"(?:api|access|private|signing)[_-]?key)[\w-]{0,40}"
)
_VALUE = (
    r'"(?:[^"\\]|\\.)*+"?'
    r"|'(?:[^'\\]|\\.)*+'?"
    r"|(?:(?:bearer|basic|digest|token)\s+)?[^\s,;&\"'{}()<>]+"
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # The name stays, so that one sees what was there.
    (re.compile(rf"(?i)(?<![\w-])({_NAME}[\"']?\s{{0,9}}[:=]\s{{0,9}})(?:{_VALUE})"), rf"\1{MASKED}"),
    (re.compile(r"(?i)(?<!\w)(bearer\s+)[\w.~+/=-]{8,}"), rf"\1{MASKED}"),
    (re.compile(r"(://)[^\s/@:]++:[^\s/@]++(?=@)"), rf"\1{MASKED}"),
    (re.compile(r"(?<!\w)eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"), MASKED),  # a JSON Web Token
    (re.compile(r"(?<!\w)(?:sk|pk|rk|ha|hk|phc|phx|ghp|gho|ghs|xox[abprs])[-_][\w-]{12,}"), MASKED),
    (re.compile(r"(?<!\w)AKIA[0-9A-Z]{12,}"), MASKED),
    (re.compile(r"(?<![\w.+'-])[\w.+'-]++(?:@|%40)[\w-]++(?:\.[\w-]++)+"), EMAIL),
)


def mask_text(text: str) -> str:
    """A sentence, a log line, or bytes that are not JSON, without secrets and e-mail addresses: those that can be told
    from their looks, and what URLs hold."""
    while True:
        masked = mask_in_text(_by_looks(text))
        if masked == text:
            return text
        text = masked  # what was masked may uncover the edge of another secret


def _by_looks(text: str) -> str:
    for pattern, by in _PATTERNS:
        text = pattern.sub(by, text)
    return text


def is_secret(name: str) -> bool:
    """Whether a field, or a header, of this name holds a secret: `password`, `apiKey`, `X-Auth-Token`.

    `prompt_tokens` does not: they are counted, not kept secret.
    """
    return _is_known_secret(name) if len(name) <= NAMES_MAX else _is_secret(name)


def _is_secret(name: str) -> bool:
    words = [word.lower() for text in (name, mask_text(name)) for word in (*_WORDS.findall(text), "")]
    if not _SECRET_WORDS.isdisjoint(words) or any(pair in _SECRET_PAIRS for pair in pairwise(words)):
        return True
    letters = [word for word in words if word.isalpha()]
    return bool(letters) and letters[-1] in _SECRET_LAST


_is_known_secret = lru_cache(maxsize=4_096)(_is_secret)  # names come again, and the patterns are slow


Holds = Callable[[str], bool]
"""Whether a field of this name holds a secret."""


def mask_in_text(text: str, holds: Holds = is_secret) -> str:
    """A text without the user information and the secret parameters of URLs, relative ones and forms included."""
    if "://" in text:
        text = _USER_INFORMATION.sub(rf"\1{MASKED}", text)
    if "=" not in text:
        return text

    def masked(match: re.Match[str]) -> str:
        name = unquote_plus(match[2])
        return f"{match[1]}{MASKED}" if holds(name) or name.lower().split("-")[-1] in _QUERY_ONLY else match[0]

    return _PARAMETER.sub(masked, text)


def named_secret(members: Iterable[tuple[str, Any]], holds: Holds = is_secret) -> bool:
    """Whether an object names a secret field beside its value: `{"field": "password", "new": "x"}`."""
    return any(
        name.lower() in _NAMING and isinstance(value, str) and len(value) <= NAMES_MAX and holds(value)
        for name, value in members
    )


def is_value(name: str) -> bool:
    """Whether a member of such an object is the value: `old`, `newValue`, `value_after`."""
    words = {word.lower() for word in _WORDS.findall(name)}
    return name.lower() in _NAMED or not words.isdisjoint(_NAMED_WORDS)


def secret_places(items: Sequence[Any], holds: Holds = is_secret) -> set[int]:
    """Which items of a list are secrets: the second of a pair `["Authorization", "Bearer …"]`, values in a flat list of
    names and values, what follows `--password` in a command line."""
    texts = [item if isinstance(item, str) and len(item) <= NAMES_MAX else "" for item in items]
    paired = len(items) % 2 == 0
    return {
        at + 1
        for at, text in enumerate(texts[:-1])
        if text and ((paired and at % 2 == 0) or text.startswith("-")) and "=" not in text and holds(text)
    }
