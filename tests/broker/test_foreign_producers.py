"""Producers in Go, TypeScript, Java and Rust send every golden vector to a broker with locks on: each record is on its
partition, byte for byte, with its verdict and its exact amount. `contract check` tells what is wrong with others."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import pytest
from click.testing import Result
from confluent_kafka import Producer
from foreign_producers import FOREIGN, LANGUAGES, SLOW, environment, output_of
from jsonschema import Draft7Validator
from kept_bills import billed
from locked import Locked
from sdk_packages import packages
from searches import is_long
from usage_log import Rec, Table

from streamapp.broker.secure import ADMIN
from streamapp.contract.kit import write
from streamapp.contract.samples import USAGE
from streamapp.contract.vectors import POISONS, REPEATED, Vector, vectors
from streamapp.errors import Denied, Refused
from streamapp.kafka.bills.reader import BillsReader
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Record, Span, read, spans
from streamapp.kafka.produce.raw_producer import RawProducer
from streamapp.schemas.judging.decode import Usage, decode_usage
from streamapp.schemas.values.strict_json import parse
from streamapp.topics.partitioner import partition_for
from streamapp.topics.registry import topic

pytest_plugins = ("locked_fixtures",)

FAR_MS = 4_102_444_800_000


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract")
    write(folder)
    return folder


PRINCIPALS = {
    "llm_usage": "llm-gateway",
    "agent_rpc_metering": "bot-gateway",
    "audit_log": "iam-service",
    "events_plugin_ingestion": "insights-capture",
}
SLOW_LAST = [pytest.param(one, marks=[pytest.mark.long] * (one == SLOW)) for one in LANGUAGES]


@pytest.mark.parametrize("language", SLOW_LAST)
@pytest.mark.timeout(3900)
def test_every_vector_arrives_where_and_as_it_is(language: str, kit: Path, locked: Locked, cache_dir: Path) -> None:
    """Each topic's records are sent by the principal that the standard lets write there, who has no other right."""
    config = confluent_config(locked.settings(ADMIN))
    command = LANGUAGES[language](kit, cache_dir)
    for name in POISONS if is_long() or language != "java" else ["llm_usage"]:  # a start of Java costs most of it
        before = spans(config, name)
        sender, sent = environment(locked.settings(PRINCIPALS[name])), list(vectors(name))
        told = output_of([*command, str(kit / "vectors" / f"{name}.jsonl")], sender)
        assert told.split() == [str(len(sent)), "acknowledged"]
        own = name == "llm_usage"
        if own:
            assert output_of(command, sender).split() == ["1", "acknowledged"]
        found = list(
            read(config, name, {one: Span(before[one].end, span.end) for one, span in spans(config, name).items()})
        )
        if own:
            of_facts = next(one for one in found if is_own(one))
            found.remove(of_facts)
            billed_as_sent(found, of_facts)
        assert sorted((one.key or b"", one.value or b"") for one in found) == sorted(
            (vector.key, vector.value or b"") for vector in sent
        )
        assert [one for one in found if one.partition != partition_for(one.key or b"", topic(name).partitions)] == []
        assert sum(one.value is None for one in found) == sum(vector.value is None for vector in sent)


def test_a_producer_writes_to_its_own_topic_alone(kit: Path, locked: Locked, cache_dir: Path) -> None:
    config, command = confluent_config(locked.settings(ADMIN)), LANGUAGES["go"](kit, cache_dir)
    before = spans(config, "llm_usage")
    with pytest.raises(AssertionError, match="TOPIC_AUTHORIZATION_FAILED"):
        output_of(command, environment(locked.settings("bot-gateway")))
    assert spans(config, "llm_usage") == before


def test_facts_do_not_change_the_cost(kit: Path, cache_dir: Path) -> None:
    """Where facts have a cost already, the cost that is given counts; a float's text is refused."""
    *node, main = LANGUAGES["typescript"](kit, cache_dir)
    program = Path(main).with_name("cost.ts")
    program.write_text(
        "import { usage } from './producer.ts'\n"
        "console.log(usage('t', 'o', '0.0038', { cost_usd: 7.5, model: 'm' }).value.toString())\n"
        "try { usage('t', 'o', String(0.1 + 0.2), {}) } catch (error) { console.log((error as Error).message) }\n"
    )
    value, refused = output_of([*node, str(program)], {}).splitlines()
    assert value.count("cost_usd") == 1
    assert parse(value.encode())[0]["data"]["cost_usd"] == Decimal("0.0038")
    assert refused == "0.30000000000000004 is no decimal number"


def is_own(record: Record) -> bool:
    """Whether the producer made it of facts, and not of a vector."""
    event = decode_usage(record.value)
    return isinstance(event, Usage) and 1_750_000_000_000 < event.at_ms < 4_000_000_000_000


def billed_as_sent(found: Sequence[Record], own: Record) -> None:
    """The billing table makes of the records, partition by partition, what the vectors say."""
    event = decode_usage(own.value)
    assert isinstance(event, Usage)
    assert re.fullmatch(r"evt_[0-7][0-9A-HJKMNP-TV-Z]{25}", event.id)
    assert (event.data.cost_usd, event.is_rounded, own.key) == (Decimal("0.0038"), False, b"team_abc123")
    reasons: list[str] = []
    sum_ = Decimal(0)
    for partition, records in groupby(sorted(found, key=lambda one: one[1:3]), key=lambda one: one.partition):
        table = Table(partition=partition, partitions=topic("llm_usage").partitions)
        table.apply(*(Rec(one.key, one.value, one.timestamp_ms, one.offset, partition) for one in records))
        table.idle_ms(FAR_MS)
        reasons += [refusal.reason for outcome in table.outcomes for refusal in outcome.refusals]
        sum_ += sum((one.totals.cost for one in table.statements()), Decimal(0))
    expected: list[Vector] = list(vectors("llm_usage"))
    assert sorted(reasons) == sorted(one.verdict for one in expected if one.amount is None and one.verdict != REPEATED)
    assert sum_ == sum((Decimal(one.amount) for one in expected if one.amount is not None), Decimal(0))


def test_the_check_tells_what_is_wrong(locked: Locked, run: Callable[..., Result]) -> None:
    """A producer with librdkafka's own partitioner, a sum of floats, and a frame."""
    config = confluent_config(locked.settings("llm-gateway"))
    producer = Producer({**config, "partitioner": "consistent"})
    for number in range(30):
        team = f"planted_{number}".encode()
        value = (
            USAGE[0]
            .value.replace(b"team_abc123", team)
            .replace(b"llm-gateway", b"planted")
            .replace(b"V0W", b"Y%02d" % number)
        )
        producer.produce("llm_usage", value.replace(b"0.0038", b"0.30000000000000004") if number == 7 else value, team)
    producer.produce("llm_usage", b"\0\0\0\0\1" + USAGE[0].value, b"team_abc123")
    assert producer.flush(60) == 0
    del producer  # or it tells of its broker's end
    done = run("reconciler", "contract", "check", "--topic", "llm_usage")
    assert done.exit_code == 1, done.output
    assert "(no source)  framed_json" in done.output
    assert "planted  float_money  1 of" in done.output
    assert re.search("planted  wrong_partitioner.*\n.*CRC32, which librdkafka's clients use by themselves", done.output)
    done = run("reconciler", "contract", "check", "--topic", "llm_usage", "--source", "nobody")
    assert isinstance(done.exception, Refused)
    assert "none is of nobody; " in str(done.exception)


def test_commerce_reads_bills_in_its_group_and_nobody_elses(locked: Locked) -> None:
    with RawProducer(locked.settings(ADMIN)) as out:
        for key, value in billed()[:3]:
            out.send("billing_events", key, value)

    async def first(user: str, group: str) -> int:
        async with BillsReader(locked.settings(user), group=group) as bills:
            async for stated in bills:
                await bills.commit()
                return stated.offset
        raise AssertionError

    for user in ("commerce", "reporting"):
        assert asyncio.run(first(user, user)) == 0
    with pytest.raises(Denied, match="principal reporting lacks READ on group commerce"):
        asyncio.run(first("reporting", "commerce"))
    with pytest.raises(Denied, match="principal compliance lacks READ on topic billing_events"):
        asyncio.run(first("compliance", "compliance"))


def test_the_document_is_asyncapi(kit: Path, cache_dir: Path) -> None:
    specs = packages(cache_dir, FOREIGN) / "@asyncapi" / "specs" / "schemas"
    schema = json.loads((specs / "3.0.0.json").read_text(encoding="utf-8"))
    document = json.loads((kit / "asyncapi.json").read_text(encoding="utf-8"))
    Draft7Validator(schema).validate(document)
    for message in document["components"]["messages"].values():
        assert (kit / message["payload"]["schema"]["$ref"]).is_file()
    assert document["operations"]["commerce-receive-billing_events"]["action"] == "receive"
