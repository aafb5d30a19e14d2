"""The base envelope of every event (standard: "Base Envelope")."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from streamapp.schemas.fields import Id, Model, Name, Timestamp

SCHEMA = "hanzo.stream.v1"


def _payload(value: Any) -> Any:
    if not isinstance(value, dict | Model):
        raise PydanticCustomError("payload", "is not an object")
    return value


# Any to the type checker, so that each event type may narrow it to its own model.
Payload = Annotated[Any, BeforeValidator(_payload), WithJsonSchema({"type": "object"})]


class Envelope(Model):
    """What all events have in common. `data` is judged by the model of the event's type."""

    schema_: Literal["hanzo.stream.v1"] = Field(alias="schema", description="Envelope version.")
    id: Id = Field(description="Globally unique event id.")
    type: Name = Field(description="Dot-delimited event type.")
    source: Name = Field(description="Producing service.")
    timestamp: Timestamp = Field(description="RFC 3339, any offset, any fraction.")
    team_id: Name | None = Field(default=None, description="Team, and the record key of most topics.")
    org_id: Name | None = Field(default=None, description="Organization.")
    data: Payload
