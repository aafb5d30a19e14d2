"""Answers in the form of Confluent's registry: its content type, its error codes, exactly two fields in an error."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"

SUBJECT_NOT_FOUND = 40401
VERSION_NOT_FOUND = 40402
SCHEMA_NOT_FOUND = 40403
SUBJECT_DELETED = 40404
SUBJECT_NOT_DELETED = 40405
VERSION_DELETED = 40406
VERSION_NOT_DELETED = 40407
NO_LEVEL = 40408
NO_MODE = 40409
INCOMPATIBLE = 40901
INVALID_SCHEMA = 42201
INVALID_VERSION = 42202
INVALID_LEVEL = 42203
INVALID_MODE = 42204
NOT_PERMITTED = 42205
INVALID_SUBJECT = 42208
STORE = 50001


class Failure(Exception):
    """An error as it is answered. The status is the code's first three digits, unless it is given."""

    def __init__(self, code: int, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.status = int(str(code)[:3]) if status is None else status

    def response(self) -> web.Response:
        response = answer({"error_code": self.code, "message": self.message}, self.status)
        if self.status == 503:
            response.headers["Retry-After"] = "1"
        return response


def answer(body: object, status: int = 200) -> web.Response:
    """JSON as the clients expect it."""
    return web.Response(body=orjson.dumps(body), status=status, content_type=CONTENT_TYPE)


def raw(schema: str) -> web.Response:
    """A schema itself."""
    return web.Response(body=schema.encode("utf-8", "replace"), content_type=CONTENT_TYPE)


def flag(request: web.Request, *names: str) -> bool:
    """A parameter of the query that is true or false; clients write True, true and 1."""
    return any(request.query.get(name, "").lower() in {"true", "1"} for name in names)


def page(request: web.Request, found: list[Any]) -> list[Any]:
    """The part of a list that `offset` and `limit` name. A limit below zero is none."""
    try:
        offset, limit = int(request.query.get("offset", "0")), int(request.query.get("limit", "-1"))
    except ValueError:
        raise Failure(400, "offset and limit are numbers") from None
    start = max(offset, 0)
    return found[start:] if limit < 0 else found[start : start + limit]
