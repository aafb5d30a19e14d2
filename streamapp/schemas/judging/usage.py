"""A usage event as the workers hold it: the fields of `llm_usage.LlmUsage`, plus the moment as a number.

Fields stand in the order of the standard's sample, because msgspec looks for the next key at the next field first.
Built only by `decode`; values are never changed afterwards.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from streamapp.schemas.fields import ID_MAX, NAME_MAX, STATUS_MAX, TOKENS_MAX

if TYPE_CHECKING:
    Cost = Decimal
    Measurement = float | None
else:
    # For Decimal msgspec would take a string, too; for Any it hands the digits of a number to `float_hook`.
    Cost = Any
    Measurement = Any  # any value at all, until `fields.measured` has read it

Id = Annotated[str, Meta(min_length=1, max_length=ID_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
Label = Annotated[str, Meta(max_length=NAME_MAX)]
Count = Annotated[int, Meta(ge=0, le=TOKENS_MAX)]
Status = Annotated[str, Meta(max_length=STATUS_MAX)]


class UsageData(Struct, gc=False, kw_only=True):
    """`cost_usd` is in `currency`, with exponent -12. A measurement is in milliseconds, or `fields.UNUSABLE`. What is
    optional and null is None, or its default."""

    request_id: Label | None = None
    model: Name
    provider: Name
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    latency_ms: Measurement = None
    cost_usd: Cost
    user_id: Label | None = None
    api_key_hash: Label | None = None
    cache_hit: bool | None = False
    stream: bool | None = None
    status: Status = "success"
    currency: Annotated[str, Meta(min_length=1, max_length=16)] = "USD"
    ttft_ms: Measurement = None
    cache_read_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    project_id: Label | None = None


class Usage(Struct, gc=False, kw_only=True):
    """`at_ms` is `timestamp` in UTC milliseconds; `is_rounded`: the cost as stated had more digits. Both are always
    computed, whatever fields of those names say."""

    schema: Literal["hanzo.stream.v1"]
    id: Id
    type: Literal["llm.usage.completed"]
    source: Name
    timestamp: str
    team_id: Name
    org_id: Name | None = None
    data: UsageData
    at_ms: int = -1
    is_rounded: bool = False
