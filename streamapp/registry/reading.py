"""The routes that read. Everything is answered from memory; Kafka is asked only before something is denied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from streamapp.registry import answers
from streamapp.registry.answers import Failure, answer, flag, page, raw
from streamapp.registry.records import Version, guid
from streamapp.registry.registry import Registry
from streamapp.registry.rules import POLICY
from streamapp.registry.state import State
from streamapp.web.monitor import Handler

T = TypeVar("T")

NEWEST = frozenset({"latest", "-1"})
VERSION_MAX = 2**31 - 1
DELETED_ONLY = ("deletedOnly", "deleted_only")


def as_told(one: Version) -> dict[str, Any]:
    """A version as clients read it."""
    return {
        "subject": one.subject,
        "version": one.version,
        "id": one.id,
        "guid": guid(one.schema),
        "schemaType": "JSON",
        "schema": one.schema,
    }


class Reading:
    """Handlers of aiohttp."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def routes(self) -> list[web.RouteDef]:
        """What is answered to a GET."""
        of = {
            "/": _always({}),
            "/contexts": _always(["."]),
            "/schemas": self.schemas,
            "/schemas/types": _always(["JSON"]),
            "/schemas/ids/{id}": self.by_id,
            "/schemas/ids/{id}/schema": self.text_by_id,
            "/schemas/ids/{id}/subjects": self.subjects_by_id,
            "/schemas/ids/{id}/versions": self.versions_by_id,
            "/schemas/guids/{guid}": self.by_guid,
            "/schemas/guids/{guid}/ids": self.ids_by_guid,
            "/subjects": self.subjects,
            "/subjects/{subject}/versions": self.versions,
            "/subjects/{subject}/versions/{version}": self.version,
            "/subjects/{subject}/versions/{version}/schema": self.text,
            "/subjects/{subject}/versions/{version}/referencedby": self.referenced,
            "/config": self.config,
            "/config/{subject}": self.config_of,
            "/mode": self.mode,
            "/mode/{subject}": self.mode_of,
        }
        return [web.get(path, handler) for path, handler in of.items()]

    async def known(self, look: Callable[[State], T | None], subject: str = "") -> T | None:
        """What is found; before nothing is, Kafka is asked. Of the repository's subjects everything is known.

        Raises `Unavailable` or `Misconfigured`."""
        found = look(self._registry.state)
        if found is None and subject not in self._registry.state.own:
            await self._registry.sure()
            found = look(self._registry.state)
        return found

    async def schemas(self, request: web.Request) -> web.Response:
        prefix, state = request.query.get("subjectPrefix", ""), self._registry.state
        found = [one for one in state.all(deleted=flag(request, "deleted")) if one.subject.startswith(prefix)]
        if flag(request, "latestOnly"):
            found = list({one.subject: one for one in found}.values())
        return answer([as_told(one) for one in page(request, found)])

    async def by_id(self, request: web.Request) -> web.Response:
        """The subject that clients name here need not be the one it was registered under."""
        schema = await self._schema(request)
        body: dict[str, Any] = {"schema": schema, "schemaType": "JSON", "guid": guid(schema)}
        if flag(request, "fetchMaxId"):
            body["maxId"] = max(self._registry.state.schemas)
        return answer(body)

    async def text_by_id(self, request: web.Request) -> web.Response:
        return raw(await self._schema(request))

    async def subjects_by_id(self, request: web.Request) -> web.Response:
        return answer(sorted({one.subject for one in await self._with_id(request)}))

    async def versions_by_id(self, request: web.Request) -> web.Response:
        return answer([{"subject": one.subject, "version": one.version} for one in await self._with_id(request)])

    async def by_guid(self, request: web.Request) -> web.Response:
        schema = await self._with_guid(request)
        return answer({"schema": schema, "schemaType": "JSON", "guid": guid(schema)})

    async def ids_by_guid(self, request: web.Request) -> web.Response:
        schema = await self._with_guid(request)
        numbers = sorted(number for number, text in self._registry.state.schemas.items() if text == schema)
        return answer([{"context": ".", "id": number} for number in numbers])

    async def subjects(self, request: web.Request) -> web.Response:
        prefix, state = request.query.get("subjectPrefix", ""), self._registry.state
        alive = state.subjects()
        found = state.subjects(deleted=True) if flag(request, "deleted", *DELETED_ONLY) else alive
        if flag(request, *DELETED_ONLY):
            found = [name for name in found if name not in set(alive)]
        return answer(page(request, [name for name in found if name.startswith(prefix)]))

    async def versions(self, request: web.Request) -> web.Response:
        subject, deleted = request.match_info["subject"], flag(request, "deleted", *DELETED_ONLY)
        found = await self.known(lambda state: state.of(subject, deleted=deleted) or None, subject)
        if found is None:
            raise no_subject(subject)
        if flag(request, *DELETED_ONLY):
            found = [one for one in found if one.deleted]
        return answer(page(request, [one.version for one in found]))

    async def version(self, request: web.Request) -> web.Response:
        return answer(as_told(await self.wanted(request)))

    async def text(self, request: web.Request) -> web.Response:
        return raw((await self.wanted(request)).schema)

    async def referenced(self, request: web.Request) -> web.Response:
        await self.wanted(request)
        return answer([])  # a schema refers to no other one

    async def config(self, request: web.Request) -> web.Response:
        return _level(self._registry.state.level(""))

    async def config_of(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        own = await self.known(lambda state: state.levels.get(subject), subject)
        if own is None and not flag(request, "defaultToGlobal"):
            raise Failure(answers.NO_LEVEL, f"Subject '{subject}' does not have subject-level compatibility configured")
        return _level(self._registry.state.level(subject))

    async def mode(self, request: web.Request) -> web.Response:
        return answer({"mode": self._registry.state.mode("")})

    async def mode_of(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        own = await self.known(lambda state: state.modes.get(subject), subject)
        if own is None and not flag(request, "defaultToGlobal"):
            raise Failure(answers.NO_MODE, f"Subject '{subject}' does not have subject-level mode configured")
        return answer({"mode": self._registry.state.mode(subject)})

    async def wanted(self, request: web.Request) -> Version:
        """The version that the path names. Raises `Failure`."""
        subject, text = request.match_info["subject"], request.match_info["version"]
        deleted, number = flag(request, "deleted"), version_number(text)

        def look(state: State) -> Version | None:
            found = state.of(subject, deleted=deleted)
            return next((one for one in reversed(found) if number is None or one.version == number), None)

        one = await self.known(look, subject)
        if one is not None:
            return one
        if not self._registry.state.of(subject, deleted=deleted):
            raise no_subject(subject)
        raise Failure(answers.VERSION_NOT_FOUND, f"Version {text} not found.")

    async def _schema(self, request: web.Request) -> str:
        number = _id(request)
        found = await self.known(lambda state: state.schemas.get(number))
        if found is None:
            raise Failure(answers.SCHEMA_NOT_FOUND, f"Schema {number} not found")
        return found

    async def _with_id(self, request: web.Request) -> list[Version]:
        await self._schema(request)
        found, deleted = self._registry.state.with_id(_id(request)), flag(request, "deleted")
        return [one for one in found if deleted or not one.deleted]

    async def _with_guid(self, request: web.Request) -> str:
        wanted = request.match_info["guid"]
        found = await self.known(lambda state: state.with_guid(wanted))
        if found is None:
            raise Failure(answers.SCHEMA_NOT_FOUND, f"Schema {wanted} not found")
        return found


def _always(body: object) -> Handler:
    async def told(request: web.Request) -> web.Response:
        return answer(body)

    return told


def no_subject(subject: str) -> Failure:
    """Nobody registered anything under that name."""
    return Failure(answers.SUBJECT_NOT_FOUND, f"Subject '{subject}' not found.")


def version_number(text: str) -> int | None:
    """The number of a version; None for the newest. Raises `Failure`."""
    if text in NEWEST:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= VERSION_MAX):
        words = 'Allowed values are between [1, 2^31-1] and the string "latest"'
        raise Failure(answers.INVALID_VERSION, f"The specified version '{text}' is not a valid version id. {words}")
    return int(text)


def _id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise Failure(404, "HTTP 404 Not Found")
    return int(text)


def _level(level: str) -> web.Response:
    return answer({"compatibilityLevel": level, "compatibilityPolicy": POLICY})
