"""What a person may look for: an id, and the moment that it tells; a place in the log. Pure."""

from __future__ import annotations

import re
from uuid import UUID

from streamapp.dead_letters.read import Coordinates
from streamapp.schemas.values.ulid import ALPHABET, PREFIX

_ULID = re.compile(rf"(?:{PREFIX})?([0-7][{ALPHABET}]{{25}})")
_PLACE = re.compile(r"([a-zA-Z0-9._-]{1,249})\[(\d{1,6})\]@(\d{1,18})")
TEXT_MAX = 256
UUID_WITH_TIME = 7


def moment_of(event_id: str) -> int | None:
    """When an id was made, in milliseconds: that of a ULID, also behind `evt_`, and of a UUIDv7. None: it does not
    say."""
    found = _ULID.fullmatch(event_id)
    if found is not None:
        number = 0
        for letter in found[1][:10]:
            number = number << 5 | ALPHABET.index(letter)
        return number or None  # 0: capture's id of an event whose uuid has no time
    one = uuid_of(event_id)
    return one.int >> 80 if one is not None and one.version == UUID_WITH_TIME else None


def uuid_of(text: str) -> UUID | None:
    """The UUID that a text is."""
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None


def place_of(text: str) -> Coordinates | None:
    """`llm_usage[3]@31617`, as receipts and pages write it → topic, partition, offset."""
    found = _PLACE.fullmatch(text.strip())
    return None if found is None else (found[1], int(found[2]), int(found[3]))


def written(at: Coordinates) -> str:
    """Inverse of `place_of`."""
    return f"{at[0]}[{at[1]}]@{at[2]}"
