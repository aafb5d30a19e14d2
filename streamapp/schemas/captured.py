"""`insights.event.captured` on `events_plugin_ingestion` (standard: "Insights Plugin Ingestion Event")."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from streamapp.schemas.envelope import Envelope, Payload
from streamapp.schemas.fields import Label, Model, Name, Timestamp

EVENT_CAPTURED = "insights.event.captured"
UUID_PATTERN = r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
CUT_AT = 200  # characters; what is longer is cut, as the clients' own servers do

Cut = Annotated[Name, Field(max_length=CUT_AT)]


class CapturedData(Model):
    """What a client says happened. `properties` are its own bytes, untouched."""

    event: Cut = Field(description="Name of what happened.")
    distinct_id: Cut = Field(description="Who did it.")
    properties: Payload
    ip: Label | None = Field(default=None, description="Where the request came from.")
    session_id: Cut | None = Field(default=None, description="`$session_id` of the properties.")
    sent_at: Timestamp | None = Field(default=None, description="The client's clock when it sent the event.")
    uuid: Annotated[str, Field(pattern=UUID_PATTERN)] | None = Field(
        default=None, description="The client's, or made on arrival. The same event sent again has the same."
    )


class EventCaptured(Envelope):
    """An event of a client library. The team is required: it is the key."""

    type: Literal["insights.event.captured"]
    team_id: Name
    data: CapturedData
