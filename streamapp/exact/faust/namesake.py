"""Two workers with one group instance id. Kafka keeps the newer one, and tells the older that it is fenced.

aiokafka (0.14) does not say its instance id with a heartbeat, so that Kafka answers as if the session had ended: the
older worker joins again and throws the newer out. And it has no name for the answer, which is error code 82.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.types import Int16, Int32, Schema, String

from streamapp.errors import Misconfigured

HEARTBEAT = 12
FENCED_INSTANCE_ID = 82


class HeartbeatAnswer(Response):
    """Version 3, the first that knows static members."""

    API_KEY = HEARTBEAT
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class HeartbeatBytes(RequestStruct):
    """The same version."""

    API_KEY = HEARTBEAT
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatAnswer
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class Heartbeat(Request[HeartbeatBytes]):
    """A static member is there."""

    API_KEY = HEARTBEAT

    def __init__(self, group: str, generation_id: int, member_id: str, instance_id: str) -> None:
        self._facts = group, generation_id, member_id, instance_id

    def build(self, request_struct_class: type[HeartbeatBytes]) -> HeartbeatBytes:
        return request_struct_class(*self._facts)


def watched(coordinator: Any, fenced: Callable[[Misconfigured], None]) -> Callable[[Any], Awaitable[Any]]:
    """What a consumer's coordinator sends requests with, for a static member: `fenced` is told of a namesake."""
    send, group, name = coordinator._send_req, coordinator.group_id, coordinator._group_instance_id

    async def asked(request: Any) -> Any:
        if isinstance(request, HeartbeatRequest):
            request = Heartbeat(group, coordinator.generation, coordinator.member_id, name)
        answer = await send(request)
        if getattr(answer, "error_code", 0) == FENCED_INSTANCE_ID:
            fenced(Misconfigured(text(group, name)))
        return answer

    return asked


def text(group: str, name: str) -> str:
    """One sentence: what happened and what to do."""
    return (
        f"another worker of {group} uses the group instance id {name}, which is made of the host's name, "
        "STREAM_WEB__HOST and STREAM_WEB__PORT: give each worker a host name, or one of the two, of its own"
    )
