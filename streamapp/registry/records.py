"""Records of the topic `_schemas`, in the form that Confluent's registry writes and reads (operations A.4).

Pure. A record is one of a few kinds; what is of none of them is left alone, as Confluent's registry leaves `NOOP`.
"""

from __future__ import annotations

from hashlib import md5
from typing import Any, NamedTuple
from uuid import UUID

import orjson

Raw = tuple[bytes, bytes | None]
"""Key and value; None is a tombstone."""


class Version(NamedTuple):
    """A version of a subject. `schema` is the text that was registered."""

    subject: str
    version: int
    id: int
    schema: str
    deleted: bool = False  # softly: found by its id alone


class Gone(NamedTuple):
    """A version that was deleted for good."""

    subject: str
    version: int


class SubjectDeleted(NamedTuple):
    """A subject was deleted softly, up to this version."""

    subject: str
    version: int


class Level(NamedTuple):
    """A subject's compatibility; subject None: everybody's. Level None: it was taken back."""

    subject: str | None
    level: str | None


class Mode(NamedTuple):
    """A subject's mode, likewise."""

    subject: str | None
    mode: str | None


class Highest(NamedTuple):
    """No id up to this one is given again, although the record that had it may be gone."""

    id: int


Change = Version | Gone | SubjectDeleted | Level | Mode | Highest


def guid(schema: str) -> str:
    """The GUID of a schema: the same text has the same one everywhere."""
    return str(UUID(bytes=md5(schema.encode(), usedforsecurity=False).digest()))


def read(key: bytes | None, value: bytes | None) -> Change | None:
    """What a record says; None: nothing that is known here."""
    try:
        named = orjson.loads(key or b"")
        told = None if value is None else orjson.loads(value)
        return _read(named, told)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _read(key: dict[str, Any], value: dict[str, Any] | None) -> Change | None:
    match key["keytype"]:
        case "SCHEMA" if value is None:
            return Gone(key["subject"], int(key["version"]))
        case "SCHEMA" if value is not None and value.get("schemaType", "AVRO") == "JSON":
            text, deleted = str(value["schema"]), bool(value.get("deleted"))
            return Version(key["subject"], int(key["version"]), int(value["id"]), text, deleted)
        case "SCHEMA" if value is not None:
            return Highest(int(value["id"]))  # Avro or Protobuf, of another registry: its id is taken
        case "DELETE_SUBJECT" if value is not None:
            return SubjectDeleted(key["subject"], int(value["version"]))
        case "CONFIG":
            return Level(key.get("subject"), None if value is None else str(value["compatibilityLevel"]))
        case "MODE":
            return Mode(key.get("subject"), None if value is None else str(value["mode"]))
        case "NOOP" if value is not None:
            return Highest(int(value["highestId"]))
    return None


def written(change: Change) -> Raw:
    """The record that says it."""
    match change:
        case Version(subject, version, number, schema, deleted):
            value = {"subject": subject, "version": version, "id": number, "guid": guid(schema), "schemaType": "JSON"}
            return _schema_key(subject, version), orjson.dumps(value | {"schema": schema, "deleted": deleted})
        case Gone(subject, version):
            return _schema_key(subject, version), None
        case SubjectDeleted(subject, version):
            key = {"keytype": "DELETE_SUBJECT", "subject": subject, "magic": 0}
            return orjson.dumps(key), orjson.dumps({"subject": subject, "version": version})
        case Level(subject, level):
            return _of_subject("CONFIG", subject), None if level is None else orjson.dumps(
                {"compatibilityLevel": level}
            )
        case Mode(subject, mode):
            return _of_subject("MODE", subject), None if mode is None else orjson.dumps({"mode": mode})
        case Highest(number):
            # Confluent's registry does not look at the value of a NOOP.
            return orjson.dumps({"keytype": "NOOP", "magic": 0}), orjson.dumps({"highestId": number})


def _schema_key(subject: str, version: int) -> bytes:
    return orjson.dumps({"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1})


def _of_subject(keytype: str, subject: str | None) -> bytes:
    return orjson.dumps({"keytype": keytype, "subject": subject, "magic": 0})
