"""`stream.event.rejected` on `dead_letter` (decision 18): why a record was refused, and its bytes, unchanged."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from streamapp.schemas.envelope import Envelope
from streamapp.schemas.fields import Label, Model, Name, Sentence, Timestamp
from streamapp.schemas.judging.rejected import Reason

EVENT_REJECTED = "stream.event.rejected"

Base64 = Annotated[str, Field(pattern=r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")]


class Header(Model):
    """One record header. Kafka keeps their order and allows a key more than once, hence a list."""

    key: Label
    value_b64: Base64 | None = Field(description="null for a header without a value.")


class RejectedData(Model):
    """Where the record came from, who refused it and why, and what it was."""

    source_topic: Name = Field(description="The topic it was read from, or was meant for.")
    source_partition: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="null if it never reached the topic."
    )
    source_offset: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="null if it never reached the topic."
    )
    source_last_offset: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Of a record batch that cannot be read: its last offset; source_offset is its first."
    )
    group: Name | None = Field(default=None, description="The consumer group that refused it.")
    producer: Name | None = Field(default=None, description="The producer that refused it before it was sent.")
    reason: Annotated[Reason, Field(strict=False)]
    error: Sentence = Field(description="One sentence for a person.")
    key_b64: Base64 | None = Field(description="null for a record without a key.")
    value_b64: Base64 | None = Field(description="null for a record without a value.")
    headers: list[Header] = Field(default_factory=list)
    failed_at: Timestamp
    attempt: Annotated[int, Field(ge=1)] = Field(description="1 for the first refusal, plus one for each redrive.")
    truncated: bool = Field(default=False, description="The value was oversized and is cut.")

    @model_validator(mode="after")
    def _someone_refused(self) -> Self:
        if (self.group is None) == (self.producer is None):
            raise PydanticCustomError("refused_by", "needs exactly one of group and producer")
        return self


class EventRejected(Envelope):
    """A refused record. Its Kafka key is the source topic."""

    type: Literal["stream.event.rejected"]
    data: RejectedData
