"""What the pages write to audit_log is an audit event like any other."""

from __future__ import annotations

import asyncio
import json

import pytest

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms
from streamapp.errors import Refused
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import read
from streamapp.kafka.provision import apply
from streamapp.schemas.audit import AuditEvent
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import TOPICS
from streamapp.web.entry.audit import NO_ORG, UNMASKED, KafkaAudit


def test_an_unmasked_value_is_an_audit_event(broker: Broker) -> None:
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
    apply(Admin(kafka), TOPICS, 1)
    said = {"user_id": "anna", "reason": "asked by the customer", "dead_letter": f"evt_{wall_ms()}", "part": "value"}

    async def run() -> None:
        audit = KafkaAudit(kafka, wall_ms)
        await audit.write("org_hanzo", said)
        await audit.write(None, said)
        with pytest.raises(Refused, match="user_id"):
            await audit.write("org_hanzo", {**said, "user_id": ""})
        await audit.close()
        await audit.close()

    asyncio.run(run())
    found = [
        record
        for record in read(confluent_config(kafka), "audit_log")
        if said["dead_letter"].encode() in (record.value or b"")
    ]
    assert {record.key for record in found} == {b"org_hanzo", NO_ORG.encode()}
    for record in found:
        event = AuditEvent.model_validate(json.loads(record.value or b""))
        assert (event.type, event.source, event.data.user_id) == (UNMASKED, "stream-pages", "anna")
