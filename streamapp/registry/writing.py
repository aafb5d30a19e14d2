"""The routes that write, and those that ask whether one might. Whoever asks needs the role `operator` for anything new.

The repository's subjects get their versions in the repository alone (decision 31).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from aiohttp import web

from streamapp.registry import answers
from streamapp.registry.answers import Failure, answer, flag
from streamapp.registry.reading import Reading, as_told, no_subject, version_number
from streamapp.registry.records import Change, Gone, Highest, Level, Mode, SubjectDeleted, Version
from streamapp.registry.registry import Registry
from streamapp.registry.rules import LEVELS, MODES, POLICY, Invalid, parsed, problems, understood
from streamapp.registry.state import READWRITE, State
from streamapp.web.entry.gate import ASKER
from streamapp.web.entry.rights import Role, may

ROLE: Role = "operator"
SUBJECT_MAX = 255
RELEASE = "its versions are released in this project's repository: streamapp schemas release"
Decided = tuple[Sequence[Change], Any]


class Writing:
    """Handlers of aiohttp."""

    def __init__(self, registry: Registry, reading: Reading) -> None:
        self._registry, self._reading = registry, reading

    def routes(self) -> list[web.RouteDef]:
        """What is answered to a POST, PUT or DELETE."""
        return [
            web.post("/subjects/{subject}", self.look_up),
            web.post("/subjects/{subject}/versions", self.register),
            web.post("/compatibility/subjects/{subject}/versions", self.compatible_with_all),
            web.post("/compatibility/subjects/{subject}/versions/{version}", self.compatible),
            web.put("/config", self.put_level),
            web.put("/config/{subject}", self.put_level),
            web.delete("/config/{subject}", self.drop_level),
            web.put("/mode", self.put_mode),
            web.put("/mode/{subject}", self.put_mode),
            web.delete("/subjects/{subject}", self.delete_subject),
            web.delete("/subjects/{subject}/versions/{version}", self.delete_version),
        ]

    async def look_up(self, request: web.Request) -> web.Response:
        """Under which version a subject has this schema."""
        subject, (text, _) = _subject(request), await _schema(request)
        deleted = flag(request, "deleted")
        found = await self._reading.known(lambda state: state.find(subject, text, deleted=deleted), subject)
        if found is not None:
            return answer(as_told(found))
        if not self._registry.state.of(subject, deleted=deleted):
            raise no_subject(subject)
        raise Failure(answers.SCHEMA_NOT_FOUND, "Schema not found")

    async def register(self, request: web.Request) -> web.Response:
        """What is there is answered to everybody; something new takes the role."""
        subject, (text, document) = _subject(request), await _schema(request)
        found = self._registry.state.find(subject, text)
        if found is None and subject in self._registry.state.own:
            raise Failure(answers.NOT_PERMITTED, f"{subject} has no such version, and {RELEASE}")
        if found is None and not may(request[ASKER].roles, ROLE):
            found = await self._reading.known(lambda state: state.find(subject, text), subject)
            if found is None:
                raise _role(request, f"registering a new version of {subject}")
        if found is None:
            await asyncio.to_thread(_demand, document)
            found = await self._registry.change(lambda state: _registered(state, subject, text, document))
        return answer({key: value for key, value in as_told(found).items() if key != "subject"})

    async def compatible(self, request: web.Request) -> web.Response:
        return await self._compatible(request, request.match_info["version"])

    async def compatible_with_all(self, request: web.Request) -> web.Response:
        return await self._compatible(request, None)

    async def _compatible(self, request: web.Request, version: str | None) -> web.Response:
        """`version` None: with all of them, as the level says. The newest version of a subject that is not there may
        be anything."""
        subject, (_, document) = _subject(request), await _schema(request)
        number, verbose = None if version is None else version_number(version), flag(request, "verbose")

        def look(state: State) -> list[Version] | None:
            return [one for one in state.of(subject) if number is None or one.version == number] or None

        older = await self._reading.known(look, subject) or []
        if number is not None and not older:
            missing = Failure(answers.VERSION_NOT_FOUND, f"Version {number} not found.")
            raise missing if self._registry.state.of(subject) else no_subject(subject)
        if version is not None:
            older = older[-1:]
        level = self._registry.state.level(subject)
        await asyncio.to_thread(_demand, document)
        texts = [one.schema for one in older]
        found = await asyncio.to_thread(problems, level, texts, document, every=verbose)
        body: dict[str, Any] = {"is_compatible": not found}
        return answer(body | {"messages": found} if verbose or found else body)

    async def put_level(self, request: web.Request) -> web.Response:
        subject, body = _subject(request) if "subject" in request.match_info else None, await _body(request)
        level = body.get("compatibility", body.get("compatibilityLevel"))
        if level not in LEVELS:
            raise Failure(answers.INVALID_LEVEL, f"Invalid compatibility level. Valid values are {', '.join(LEVELS)}")
        if body.get("compatibilityPolicy", POLICY) != POLICY:
            raise Failure(answers.NOT_PERMITTED, f"the policy is {POLICY} here")
        if not await self._is_in_force(request, subject, lambda state: state.level(subject or "") == level):
            self._demand_right(request, subject, f"the compatibility level {level}")
            await self._registry.change(lambda state: _levelled(state, subject, level))
        return answer({"compatibility": level})

    async def drop_level(self, request: web.Request) -> web.Response:
        subject = _subject(request)
        self._demand_right(request, subject, "another compatibility level")
        return answer({"compatibility": await self._registry.change(lambda state: _unlevelled(state, subject))})

    async def put_mode(self, request: web.Request) -> web.Response:
        subject, body = _subject(request) if "subject" in request.match_info else None, await _body(request)
        mode = body.get("mode")
        if mode not in MODES:
            raise Failure(answers.INVALID_MODE, f"Invalid mode. Valid values are {', '.join(MODES)}")
        if not await self._is_in_force(request, subject, lambda state: state.mode(subject or "") == mode):
            self._demand_right(request, subject, f"the mode {mode}")
            await self._registry.change(lambda state: _moded(state, subject, mode))
        return answer({"mode": mode})

    async def _is_in_force(self, request: web.Request, subject: str | None, holds: Callable[[State], bool]) -> bool:
        """Whether who may not set something asks for what is in force, as clients do after they registered: the topic
        tells, because another registry may have written a moment ago. Who may set it is taken at his word."""
        own = subject in self._registry.state.own
        if not own and may(request[ASKER].roles, ROLE):
            return False
        if not own:
            await self._registry.sure()
        return holds(self._registry.state)

    async def delete_subject(self, request: web.Request) -> web.Response:
        subject, permanent = _subject(request), flag(request, "permanent")
        self._demand_right(request, subject, "deleting it")
        return answer(await self._registry.change(lambda state: _subject_gone(state, subject, permanent)))

    async def delete_version(self, request: web.Request) -> web.Response:
        subject, permanent = _subject(request), flag(request, "permanent")
        number = version_number(request.match_info["version"])
        self._demand_right(request, subject, "deleting a version of it")
        return answer(await self._registry.change(lambda state: _version_gone(state, subject, number, permanent)))

    def _demand_right(self, request: web.Request, subject: str | None, what: str) -> None:
        if subject in self._registry.state.own:
            raise Failure(answers.NOT_PERMITTED, f"{subject} is this project's own: {RELEASE}")
        if not may(request[ASKER].roles, ROLE):
            raise _role(request, what)


def _registered(state: State, subject: str, text: str, document: Any) -> tuple[Sequence[Change], Version]:
    """The next version of a subject, unless it has this schema by now. Raises `Failure`."""
    if found := state.find(subject, text):
        return [], found
    _demand_writable(state, subject)
    older = [one.schema for one in state.of(subject)]
    if why := problems(state.level(subject), older, document) if older else []:
        told = "; ".join(why[:10])
        raise Failure(
            answers.INCOMPATIBLE,
            f'Schema being registered is incompatible with an earlier schema for subject "{subject}": {told}',
        )
    known = state.id_of(text)
    number = state.highest + 1 if known is None else known
    one = Version(subject, state.next_version(subject), number, state.schemas.get(number, text))
    return [one], one


def _levelled(state: State, subject: str | None, level: str) -> Decided:
    _demand_writable(state, subject or "")
    return [Level(subject, level)] if state.levels.get(subject) != level else [], None


def _moded(state: State, subject: str | None, mode: str) -> Decided:
    return [Mode(subject, mode)] if state.modes.get(subject) != mode else [], None


def _unlevelled(state: State, subject: str) -> Decided:
    _demand_writable(state, subject)
    level = state.levels.get(subject)
    if level is None:
        raise no_subject(subject)
    return [Level(subject, None)], level


def _demand_writable(state: State, subject: str) -> None:
    """A mode that is read-only refuses everything but another mode, as Confluent's registry does. Raises `Failure`."""
    mode = state.mode(subject)
    if mode != READWRITE:
        raise Failure(answers.NOT_PERMITTED, f"{f'subject {subject}' if subject else 'the registry'} is in {mode} mode")


def _subject_gone(state: State, subject: str, permanent: bool) -> Decided:
    _demand_writable(state, subject)
    versions = state.of(subject, deleted=True)
    alive = [one for one in versions if not one.deleted]
    if not versions:
        raise no_subject(subject)
    if permanent and alive:
        raise Failure(
            answers.SUBJECT_NOT_DELETED, f"Subject '{subject}' was not deleted first before being permanently deleted"
        )
    if permanent:
        changes: list[Change] = [Gone(subject, one.version) for one in versions]
        return [Highest(state.highest), *changes], [one.version for one in versions]
    if not alive:
        raise Failure(
            answers.SUBJECT_DELETED,
            f"Subject '{subject}' was soft deleted. Set permanent=true to delete permanently",
        )
    return [SubjectDeleted(subject, alive[-1].version)], [one.version for one in alive]


def _version_gone(state: State, subject: str, number: int | None, permanent: bool) -> Decided:
    _demand_writable(state, subject)
    versions = state.of(subject, deleted=True)
    if not versions:
        raise no_subject(subject)
    alive = [one for one in versions if not one.deleted]
    if number is None:
        number = (alive or versions)[-1].version
    one = next((one for one in versions if one.version == number), None)
    if one is None:
        raise Failure(answers.VERSION_NOT_FOUND, f"Version {number} not found.")
    if permanent and not one.deleted:
        raise Failure(
            answers.VERSION_NOT_DELETED,
            f"Subject '{subject}' Version {number} was not deleted first before being permanently deleted",
        )
    if permanent:
        return [Highest(state.highest), Gone(subject, number)], number
    if one.deleted:
        raise Failure(
            answers.VERSION_DELETED,
            f"Subject '{subject}' Version {number} was soft deleted. Set permanent=true to delete permanently",
        )
    return [one._replace(deleted=True)], number


def _demand(document: Any) -> None:
    try:
        understood(document)
    except Invalid as why:
        raise Failure(answers.INVALID_SCHEMA, f"Invalid schema: {why}") from None


async def _schema(request: web.Request) -> tuple[str, Any]:
    """Text and document of the schema in a body. Raises `Failure`."""
    body = await _body(request)
    kind, text = body.get("schemaType", "AVRO"), body.get("schema")
    if kind != "JSON":
        raise Failure(answers.INVALID_SCHEMA, f"Invalid schema type {kind}: events here are JSON, so is schemaType")
    if not isinstance(text, str):
        raise Failure(answers.INVALID_SCHEMA, "Invalid schema: the body's field `schema` is no text")
    if body.get("references"):
        raise Failure(answers.INVALID_SCHEMA, "Invalid schema: no references to others; copy what they mean into $defs")
    try:
        return text, parsed(text)
    except Invalid as why:
        raise Failure(answers.INVALID_SCHEMA, f"Invalid schema: {why}") from None


async def _body(request: web.Request) -> dict[str, Any]:
    if not request.content_type.endswith("json"):
        raise Failure(415, f"HTTP 415 Unsupported Media Type: send {answers.CONTENT_TYPE}")
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise Failure(400, f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Failure(400, "the body is no JSON object")
    return body


def _subject(request: web.Request) -> str:
    subject = request.match_info["subject"]
    if len(subject) > SUBJECT_MAX or not subject.isprintable() or subject != subject.strip():
        raise Failure(answers.INVALID_SUBJECT, f"a subject has at most {SUBJECT_MAX} visible characters")
    return subject


def _role(request: web.Request, what: str) -> Failure:
    who = request[ASKER].name or "an asker without a name"
    return Failure(answers.NOT_PERMITTED, f"{what} takes the role {ROLE}, which {who} does not have (docs/schemas.md)")
