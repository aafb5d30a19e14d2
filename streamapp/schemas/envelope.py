"""The base envelope of every event (standard: "Base Envelope")."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
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


class StatementEnvelope(Envelope):
    """What this project states. The data repeat the id in the field `own_id`, and the team where they name one. The
    Kafka key is the org."""

    own_id: ClassVar[str]

    org_id: Name

    @model_validator(mode="after")
    def _names_itself(self) -> Self:
        if getattr(self.data, self.own_id) != self.id:
            raise PydanticCustomError(self.own_id, f"data.{self.own_id} is not the envelope's id")
        if getattr(self.data, "team_id", self.team_id) != self.team_id:
            raise PydanticCustomError("team_id", "data.team_id is not the envelope's team_id")
        return self
