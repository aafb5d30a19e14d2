"""A worker that stops for good tells its group, so that the others go on with its partitions at once.

aiokafka lets a static member go without a word: its place stays taken until the session ends (docs/adr/0013).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NoReturn

from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from streamapp.errors import Misconfigured
from streamapp.exact.faust.failstop import failstop
from streamapp.exact.faust.namesake import watched
from streamapp.exact.faust.stopping import StoppableConsumer

log = logging.getLogger(__name__)

PATIENCE_S = 2.0  # a broker that does not answer will find out when the session ends
LEAVE_GROUP = 13


class LeaveGroupAnswer(Response):
    """Version 3, the first that knows static members."""

    API_KEY = LEAVE_GROUP
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")), ("error_code", Int16)),
        ),
    )


class LeaveGroupBytes(RequestStruct):
    """The same version."""

    API_KEY = LEAVE_GROUP
    API_VERSION = 3
    RESPONSE_TYPE = LeaveGroupAnswer
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class LeaveGroup(Request[LeaveGroupBytes]):
    """One member leaves. With its member id, so that a successor under the same name is not thrown out."""

    API_KEY = LEAVE_GROUP

    def __init__(self, group: str, member_id: str, instance_id: str) -> None:
        self._group, self._member = group, (member_id, instance_id)

    def build(self, request_struct_class: type[LeaveGroupBytes]) -> LeaveGroupBytes:
        return request_struct_class(self._group, [self._member])


def _namesake(error: Misconfigured) -> NoReturn:
    failstop(error, "being a member of its group")


class LeavingConsumer(StoppableConsumer):
    """Leaves its group when it stops, if it is told to. Nothing of it may be under way any more then."""

    leave_on_stop = True

    async def start(self) -> None:
        """Fail-stop when another member comes under the same instance id."""
        await super().start()
        if self._coordinator is not None and self._group_instance_id:
            self._coordinator._send_req = watched(self._coordinator, _namesake)

    async def stop(self) -> None:
        """Raises nothing when Kafka does not answer: the session ends all the same."""
        coordinator = self._coordinator
        if coordinator is not None and not self._closed and self.leave_on_stop:
            group, member_id, instance_id = coordinator.group_id, coordinator.member_id, coordinator._group_instance_id
            await coordinator.close()  # from here on it neither joins nor says that it is there
            if member_id and instance_id:
                await self._leave(coordinator, LeaveGroup(group, member_id, instance_id))
        await super().stop()

    async def _leave(self, coordinator: Any, request: LeaveGroup) -> None:
        node = coordinator.coordinator_id
        if node is None:
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self._client.send(node, request, group=ConnectionGroup.COORDINATION)
        except (KafkaError, TimeoutError) as error:
            log.warning("Kafka was not told that this worker leaves (%r): its place stays for a session", error)
            return
        log.info("left the group%s", f" (Kafka's answer: {answer.error_code})" if answer.error_code else "")
