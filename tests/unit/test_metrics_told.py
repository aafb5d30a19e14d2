"""What a worker's parts tell its metrics: rebalances and takeovers, how old a chunk is, requests to a destination."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamapp.errors import Unavailable
from streamapp.exact.ownership import Ownership
from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.owned import Partition
from streamapp.lane.records import Record
from streamapp.metrics import GroupMetrics
from streamapp.sinks.patience import Patience

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01".encode()
NOW_MS = 1_000_000


class Keeps:
    """A task that commits each chunk."""

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction | None:
        return Transaction({}, (), records[-1].offset + 1)

    def tick(self, now_ms: int) -> Transaction | None:
        return None

    def tick_due(self, now_ms: int) -> bool:
        return False

    async def commit(self, transaction: Transaction) -> None: ...

    def stop_waiting(self) -> None: ...

    async def close(self) -> None: ...


def lines(metrics: GroupMetrics, openmetrics: bool = False) -> list[str]:
    return metrics.exposition(openmetrics).decode().splitlines()


def partition(metrics: GroupMetrics) -> Partition:
    return Partition(
        0,
        Keeps(),
        fetch_from=0,
        silent_since_ms=0,
        idle_ms=0,
        clock=lambda: NOW_MS,
        on_commit=metrics.committed,
    )


def test_a_chunk_is_as_old_as_its_first_record_and_names_its_trace() -> None:
    metrics = GroupMetrics("billing-agg")

    async def run() -> None:
        owned = partition(metrics)
        first = Record(0, NOW_MS - 4000, b"k", b"v", (("other", None), ("traceparent", PARENT)))
        await owned.apply(owned.chunk([first, Record(1, NOW_MS - 10, b"k", b"v", ())]))
        await owned.settled()
        await owned.apply(owned.chunk([Record(2, NOW_MS + 500, b"k", b"v", (("traceparent", b"nothing"),))]))
        await owned.release()

    asyncio.run(run())
    told = lines(metrics)
    name = "stream_capture_to_table_seconds"
    assert f'{name}_sum{{group="billing-agg"}} 4.0' in told  # what comes from the future is no older than now
    assert f'{name}_count{{group="billing-agg"}} 2.0' in told
    traced = [line for line in lines(metrics, openmetrics=True) if TRACE in line]
    assert [line for line in traced if line.startswith(f'{name}_bucket{{group="billing-agg",le="5.0"}} 2.0 # ')]


def test_rebalances_and_takeovers_are_counted(tmp_path: Path) -> None:
    metrics = GroupMetrics("billing-agg")

    async def run() -> None:
        async def take(numbers: Sequence[int], folder: Path) -> dict[int, Partition]:
            assert ownership.taking == tuple(numbers) == (0, 1)
            return {number: partition(metrics) for number in numbers}

        ownership = Ownership("llm_usage", take, tmp_path)
        ownership.rebalanced, ownership.took_over = metrics.rebalances.inc, metrics.took_over
        await ownership.take_over({0, 1})
        assert ownership.taking == ()
        await ownership.take_over(())  # others have everything
        await ownership.release()

    asyncio.run(run())
    told = lines(metrics)
    assert 'stream_rebalances_total{group="billing-agg"} 2.0' in told
    assert 'stream_takeover_seconds_count{group="billing-agg"} 1.0' in told


def test_every_request_to_a_destination_is_counted_by_how_it_ended() -> None:
    metrics = GroupMetrics("billing-ledger")
    answers = iter([Unavailable("away"), None])

    async def question() -> str:
        answer = next(answers)
        if answer is not None:
            raise answer
        return "kept"

    async def run() -> str:
        patience = Patience("billing_events-0")
        patience.told = metrics.sink_asked
        return await patience.ask(question)

    assert asyncio.run(run()) == "kept"
    told = lines(metrics)
    assert 'stream_sink_errors_total{group="billing-ledger"} 1.0' in told
    assert 'stream_sink_request_seconds_count{group="billing-ledger"} 1.0' in told


def test_statements_of_one_hour_are_observed_as_one_by_one() -> None:
    at_once, one_by_one, ages = GroupMetrics("g"), GroupMetrics("g"), (-1.0, 300.0, 300.5, 300.5, 90_000.0, 300.0)
    at_once.stated("hourly", len(ages), ages)
    for age in ages:
        one_by_one.stated("hourly", 1, [age])
    told = [[line for line in lines(one) if line.startswith("stream_usage_to_bill")] for one in (at_once, one_by_one)]
    assert told[0] == told[1]
    assert 'stream_usage_to_bill_seconds_bucket{group="g",le="300.0"} 3.0' in told[0]
    assert f'stream_usage_to_bill_seconds_sum{{group="g"}} {sum(age for age in ages if age > 0)}' in told[0]
