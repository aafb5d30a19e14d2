"""The golden vectors are the one truth: models, fast readers, schemas, tables in C and in Python agree with each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from pathlib import Path

import pytest
from exact_json import takes
from jsonschema import Draft202012Validator
from rpc_log import Calls
from rpc_log import call as called
from usage_log import Rec, Table, without_lane
from usage_log import event as used

from streamapp.contract.kit import CLIENTS
from streamapp.contract.vectors import ACCEPT, AT_MS, LOG, POISONS, REPEATED, VALUE, Vector, vectors
from streamapp.kafka.produce.outgoing import READERS
from streamapp.schemas.catalog import CATALOG, JUDGES, json_schema
from streamapp.schemas.judging.metering import Metering
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.judging.usage import Usage
from tables.calls.ledger import CallsOutcome
from tables.outcome import Outcome

GOLDEN = Path(__file__).parent.parent / "golden" / "vectors"
RENEW = "if that is meant: streamapp contract export DIR, and copy its vectors"
NOT_OF_A_RECORD = {
    # Of requests to capture, of batches, and of a client that sets no timestamp.
    Reason.UNREADABLE_BODY, Reason.TOO_MANY_EVENTS, Reason.MISSING_EVENT_NAME, Reason.MISSING_DISTINCT_ID,
    Reason.EVENT_TOO_LARGE, Reason.UNREADABLE_BATCH, Reason.RECORD_TIMESTAMP_MISSING,
}  # fmt: skip


@pytest.mark.parametrize("topic", POISONS)
def test_the_vectors_are_the_golden_ones(topic: str) -> None:
    made = "".join(vector.line() for vector in vectors(topic))
    assert (GOLDEN / f"{topic}.jsonl").read_text(encoding="utf-8") == made, f"the vectors of {topic} changed; {RENEW}"


def test_every_reason_has_a_vector() -> None:
    shown = {vector.verdict for topic in POISONS for vector in vectors(topic)}
    assert shown - {ACCEPT, REPEATED} == set(Reason) - NOT_OF_A_RECORD


@pytest.mark.parametrize("topic", POISONS)
def test_models_and_fast_readers_give_each_verdict(topic: str) -> None:
    for vector in vectors(topic):
        for read in (JUDGES[topic], READERS[topic]):
            found = read(vector.value)
            said = found.reason if isinstance(found, Rejected) else ACCEPT
            assert said == (vector.verdict if vector.seen == VALUE else ACCEPT), (vector.name, read)
            if vector.amount is not None:
                assert isinstance(found, Usage | Metering)
                amount = found.data.cost_usd if isinstance(found, Usage) else found.amount
                assert str(amount) == str(Decimal(vector.amount)), vector.name


@pytest.mark.parametrize("topic", POISONS)
def test_schemas_take_what_readers_take(topic: str) -> None:
    (event_type,) = (entry.event_type for entry in CATALOG if entry.topic == topic)
    schema = Draft202012Validator(json_schema(event_type))
    taken = [vector.name for vector in vectors(topic) if takes(schema, vector.value)]
    assert taken == [vector.name for vector in vectors(topic) if '"schema_takes_it": true' in vector.line()]


def records(topic: str) -> Iterator[tuple[Vector, Rec]]:
    for offset, vector in enumerate(vectors(topic)):
        yield vector, Rec(vector.key, vector.value, AT_MS, offset, topic=topic)


def told(topic: str, outcomes: list[Outcome] | list[CallsOutcome]) -> dict[str, str]:
    refused = {refusal.record.offset: refusal.reason for outcome in outcomes for refusal in outcome.refusals}
    repeated = {vector.name for vector, _ in records(topic) if vector.verdict == REPEATED}
    return {
        vector.name: refused.get(record.offset, REPEATED if vector.name in repeated else ACCEPT)
        for vector, record in records(topic)
    }


@pytest.mark.parametrize("lane", [True, False])
def test_the_billing_table_gives_each_verdict_and_the_exact_sum(lane: bool) -> None:
    table = Table()
    if not lane:
        without_lane(table)
    for _, record in records("llm_usage"):
        table.apply(record)
    table.apply(replace(used("12:00", cost="0"), offset=1_000))
    assert told("llm_usage", table.outcomes) == {one.name: one.verdict for one in vectors("llm_usage")}
    amounts = [Decimal(one.amount) for one in vectors("llm_usage") if one.amount is not None]
    stated = table.statements()
    assert sum(one.totals.requests for one in stated) == len(amounts)
    assert sum((one.totals.cost for one in stated), Decimal(0)) == sum(amounts, Decimal(0))


def test_the_table_of_calls_gives_each_verdict_and_the_exact_sum() -> None:
    table = Calls(min_amount=Decimal("0.000000000001"))
    for _, record in records("agent_rpc_metering"):
        table.apply(record)
    table.apply(replace(called("12:00", price="0"), offset=1_000))
    assert told("agent_rpc_metering", table.outcomes) == {
        one.name: one.verdict for one in vectors("agent_rpc_metering")
    }
    amounts = [Decimal(one.amount) for one in vectors("agent_rpc_metering") if one.amount is not None]
    assert sum((one.amount for one in table.settlements()), Decimal(0)) == sum(amounts, Decimal(0))


def test_each_key_has_the_partition_of_the_java_client() -> None:
    from aiokafka.partitioner import murmur2

    for vector in chain.from_iterable(map(vectors, POISONS)):
        for count, number in vector.partitions.items():
            assert number == (murmur2(vector.key) & 0x7FFFFFFF) % count, vector.name


def test_what_is_seen_in_the_log_only_is_no_fault_of_the_bytes() -> None:
    assert {one.verdict for topic in POISONS for one in vectors(topic) if one.seen == LOG} == {
        REPEATED, Reason.CONFLICTING_DUPLICATE, Reason.TIMESTAMP_IN_FUTURE, Reason.TOO_LATE, Reason.WRONG_PARTITION,
        Reason.ORG_UNRESOLVED,
    }  # fmt: skip


def test_a_producer_is_small_enough_to_be_read() -> None:
    """That is, the file which a team copies; `main` beside it sends the vectors."""
    names = ("go/producer.go", "typescript/producer.ts", "java/UsageProducer.java", "rust/src/producer.rs")
    lengths = {name: len((CLIENTS / name).read_text(encoding="utf-8").splitlines()) for name in names}
    assert [name for name, lines in lengths.items() if lines > 60] == []
