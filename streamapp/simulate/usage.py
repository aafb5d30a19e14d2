"""A realistic stream of `llm_usage`, reproducible to the byte: the same spec and times give the same records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random

from streamapp.schemas.judging.rejected import Reason
from streamapp.simulate.poison import POISONS
from streamapp.simulate.stream import HOUR_MS, Kind, SimulatedRecord, Source, StreamSpec, history, stream
from streamapp.simulate.text import ids, stamps
from streamapp.simulate.world import MODELS, OUTCOMES, draws, teams, tenants, token_table, zipf

__all__ = ["HOUR_MS", "Kind", "SimulatedRecord", "UsageSpec", "history", "usage_stream"]

UsageSpec = StreamSpec
PICO = 10**12
LATE_HOURS_MAX = 13 * 24  # older than the topic's 14 days would be refused
OTHER = b'"latency_ms":', b'"latency_ms":1'


def usage_stream(spec: StreamSpec, times: Iterable[int] | None = None) -> Iterator[SimulatedRecord]:
    """One record for each moment, which is when it is sent, `history(spec)` by default."""
    rng = Random(spec.seed)
    source = Source(_builder(spec, rng), OTHER, Reason.CONFLICTING_DUPLICATE, POISONS, LATE_HOURS_MAX)
    return stream(source, spec, rng, times)


def _builder(spec: StreamSpec, rng: Random) -> Callable[[int], tuple[bytes, bytes]]:
    """Moment → key and value of a new good event."""
    customers = teams(rng, tenants(rng, spec.teams, spec.directory))
    team_draws = draws(rng, customers, zipf(spec.teams))
    model_draws = draws(rng, MODELS)
    outcome_draws = draws(rng, OUTCOMES)
    prompts, completions = token_table(rng, 420, 1.2), token_table(rng, 210, 1.0)
    id_rests, stamp, bits = ids(rng), stamps(), rng.getrandbits

    def build(at_ms: int) -> tuple[bytes, bytes]:
        team, model, outcome = next(team_draws), next(model_draws), next(outcome_draws)
        dice = bits(48)
        prompt = prompts[dice & 4095]
        completion = completions[dice >> 12 & 4095] * outcome.completion_percent // 100 if model.completion_price else 0
        cost = (prompt * model.prompt_price + completion * model.completion_price) * outcome.cost_percent // 100
        whole, fraction = divmod(cost, PICO)
        id_time, second, ms = stamp(at_ms)
        id_rest = next(id_rests)
        return team.key, (
            f'{{"schema":"hanzo.stream.v1","id":"evt_{id_time}{id_rest}","type":"llm.usage.completed",'
            f'"source":"llm-gateway","timestamp":"{second}{ms:03d}Z",{team.heads[(dice >> 24) % 100]}{id_rest}",'
            f'"model":"{model.name}","provider":"{model.provider}","prompt_tokens":{prompt},'
            f'"completion_tokens":{completion},"total_tokens":{prompt + completion},'
            f'"latency_ms":{90 + completion * model.token_ms + (dice >> 36)},"cost_usd":{whole}.{fraction:012d},'
            f'"user_id":"user_{dice >> 30 & 1023}{team.tail}{outcome.tail}}}}}'
        ).encode()

    return build
