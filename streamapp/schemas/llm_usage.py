"""`llm.usage.completed` on `llm_usage` (standard: "LLM Usage Event"; decisions 5 to 7)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from streamapp.schemas.envelope import Envelope
from streamapp.schemas.fields import Cost, Count, Currency, Label, Measurement, Model, Name, Status

LLM_USAGE = "llm.usage.completed"
SUCCESS = "success"


class LlmUsageData(Model):
    """One completed call. What bills need is required; the rest is optional, null included, but typed if present."""

    provider: Name
    model: Name
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count = Field(
        description="At least prompt_tokens + completion_tokens; reasoning and tool tokens may stand in the total only."
    )
    cost_usd: Cost = Field(
        description="The cost as a JSON number, in `currency`; rounded half to even at the 12th decimal."
    )
    status: Status | None = Field(
        default=SUCCESS, description="How the call ended: `success`, or anything else for an error."
    )
    cache_hit: bool | None = False
    currency: Currency | None = "USD"
    latency_ms: Measurement = None
    ttft_ms: Measurement = None
    cache_read_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    request_id: Label | None = None
    user_id: Label | None = None
    project_id: Label | None = None
    api_key_hash: Label | None = None
    stream: bool | None = None

    @model_validator(mode="after")
    def _total_holds_its_parts(self) -> Self:
        if self.total_tokens < self.prompt_tokens + self.completion_tokens:
            raise PydanticCustomError(
                "tokens",
                "total_tokens is {total}, less than {sum} = prompt_tokens + completion_tokens",
                {"total": self.total_tokens, "sum": self.prompt_tokens + self.completion_tokens},
            )
        return self


class LlmUsage(Envelope):
    """A usage event. The team is required: it is the key, and who pays (decision 8)."""

    type: Literal["llm.usage.completed"]
    team_id: Name
    data: LlmUsageData
