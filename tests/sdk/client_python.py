"""PostHog's client for Python, used as its documentation shows: `client_python.py <JSON>`, answers with JSON.

In:  {"host", "token", "flavor", "many"}; flavor "gzip" packs the bodies.
Out: {"uuids": {uuid: event}, "errors": [...]}
"""

from __future__ import annotations

import json
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from posthog import Posthog


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """Send, wait until everything is answered, tell what was sent."""
    errors: list[str] = []
    client = Posthog(
        asked["token"],
        host=asked["host"],
        gzip=asked["flavor"] == "gzip",
        max_retries=30,
        on_error=lambda error, batch: errors.append(str(error)),
    )
    uuids = many(client, asked["many"]) if asked["many"] else tour(client)
    client.shutdown()
    return {"uuids": uuids, "errors": errors}


def tour(client: Posthog) -> dict[str, str]:
    """One of everything; uuid → event."""
    order, plan = str(uuid.uuid4()), str(uuid.uuid4())
    at = datetime.now(UTC) - timedelta(minutes=5)
    client.capture("order placed", distinct_id="user_456", uuid=order, properties={"price": 12.5, "name": "Müller ☃"})
    client.capture("plan chosen", distinct_id="user_456", uuid=plan, timestamp=at, groups={"company": "hanzo"})
    sent = {order: "order placed", plan: "plan chosen"}
    for made, event in (
        (client.set(distinct_id="user_456", properties={"plan": "pro"}), "$set"),
        (client.alias("visitor_1", "user_456"), "$create_alias"),
        (client.group_identify("company", "hanzo", {"seats": 7}), "$groupidentify"),
    ):
        assert made is not None, event
        sent[made] = event
    return sent


def many(client: Posthog, count: int) -> dict[str, str]:
    """So many plain events; uuid → event."""
    uuids = [str(uuid.uuid4()) for _ in range(count)]
    for number, one in enumerate(uuids):
        client.capture("clicked", distinct_id=f"user_{number}", uuid=one)
    return dict.fromkeys(uuids, "clicked")


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
