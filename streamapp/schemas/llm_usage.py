"""`llm.usage.completed` on `llm_usage` (standard: "LLM Usage Event"; decisions 5 to 7)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from streamapp.schemas.envelope import Envelope
from streamapp.schemas.fields import Cost, Count, Currency, Label, Measure, Model, Name

LLM_USAGE = "llm.usage.completed"


class Status(StrEnum):
    """How the call ended. Every status is counted and billed as stated; all but success are errors."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"


class LlmUsageData(Model):
    """One completed call. What bills need is required; the rest is optional, null included, but typed if present."""

    provider: Name
    model: Name
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count = Field(description="prompt_tokens + completion_tokens.")
    cost_usd: Cost = Field(description="The cost as a JSON number with at most 12 decimals, in `currency`.")
    status: Annotated[Status, Field(strict=False)] | None = Status.SUCCESS
    cache_hit: bool | None = False
    currency: Currency | None = "USD"
    latency_ms: Measure | None = None
    ttft_ms: Measure | None = Field(default=None, description="Time to the first token.")
    cache_read_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    request_id: Label | None = None
    user_id: Label | None = None
    project_id: Label | None = None
    api_key_hash: Label | None = None
    stream: bool | None = None

    @model_validator(mode="after")
    def _tokens_add_up(self) -> Self:
        if self.total_tokens != self.prompt_tokens + self.completion_tokens:
            raise PydanticCustomError(
                "tokens",
                "total_tokens is {total}, not {sum} = prompt_tokens + completion_tokens",
                {"total": self.total_tokens, "sum": self.prompt_tokens + self.completion_tokens},
            )
        return self


class LlmUsage(Envelope):
    """A usage event. The team is required: it is the key, and who pays (decision 8)."""

    type: Literal["llm.usage.completed"]
    team_id: Name
    data: LlmUsageData
