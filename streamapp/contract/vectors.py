"""Golden vectors: bytes, and what becomes of them. Every reader and every producer is held to them. Pure.

A vector is one record as a producer may send it. `verdict` is `accept` or the reason of its dead letter. `seen` is
where that shows: in the value alone, or only in the log (its key, its moment, what came before it). The vectors of a
topic are a log: in this order, each on its partition, they get these verdicts. They are the standard's own samples,
what real producers write in their place, and everything that `simulate` knows to spoil.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from streamapp.contract.samples import SAMPLES, Sample
from streamapp.schemas.catalog import JUDGES
from streamapp.schemas.judging.metering import Metering
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.judging.usage import Usage
from streamapp.schemas.values.money import money_text
from streamapp.simulate import audit, insights, poison, rpc
from streamapp.simulate.poison import Poison, Sound, sub
from streamapp.topics.partitioner import partition_for

ACCEPT, REPEATED = "accept", "repeated"
VALUE, LOG = "value", "log"
PARTITIONS = (4, 8, 16)
AT_MS = 1_736_937_000_123  # the standard's 2025-01-15T10:30:00.123Z
FAR_MS = 4_070_908_800_000  # 2099: always in the future

FRAME = Poison("framed", Reason.FRAMED_JSON, True, lambda sound, rng: (sound.key, b"\0\0\0\0\1" + sound.value))
MORE: Mapping[str, tuple[Poison, ...]] = {
    "llm_usage": (
        FRAME,
        Poison("cost is null", Reason.INVALID_COST, True, sub(rb'"cost_usd":[0-9.]+', b'"cost_usd":null')),
        Poison("cost is infinite", Reason.INVALID_COST, True, sub(rb'"cost_usd":[0-9.]+', b'"cost_usd":Infinity')),
        Poison("half a token", Reason.INVALID_DATA, True, sub(rb'"prompt_tokens":[0-9]+', b'"prompt_tokens":0.5')),
        Poison("id with a space", Reason.INVALID_ENVELOPE, True, sub(rb'"id":"evt_', b'"id":"evt ')),
        Poison("half a surrogate pair", Reason.INVALID_DATA, True, sub(rb'"model":"', b'"model":"\\\\ud800')),
    ),
    "agent_rpc_metering": (
        FRAME,
        Poison("price in a comma's country", Reason.INVALID_PRICE, True, sub(rb'"price":"[^"]*"', b'"price":"0,001"')),
        Poison("amount of 19 digits", Reason.INVALID_PRICE, True, sub(
            rb'"quantity":[0-9]+,"price":"[^"]*"', b'"quantity":9007199254740992,"price":"1000"')),
    ),
    "audit_log": (FRAME,),
    "events_plugin_ingestion": (FRAME,),
}  # fmt: skip
POISONS: Mapping[str, Sequence[Poison]] = {
    "llm_usage": poison.POISONS,
    "agent_rpc_metering": rpc.POISONS,
    "audit_log": audit.POISONS,
    "events_plugin_ingestion": insights.POISONS,
}
BLIND = frozenset({"no moment", "half a surrogate pair", "wrong total", "13 decimals", "amount of 19 digits"})
"""Vectors that are refused although a JSON Schema takes them: it has no words for sums, decimals of a text or half
letters, and validators do not look at the format of a timestamp."""


class Vector(NamedTuple):
    """One record. `amount` is what it costs, exactly; None where it has none or is refused."""

    name: str
    topic: str
    key: bytes
    value: bytes | None
    verdict: str
    seen: str
    amount: str | None

    @property
    def partitions(self) -> dict[int, int]:
        """Partition count → the partition of the key."""
        return {count: partition_for(self.key, count) for count in PARTITIONS}

    def line(self) -> str:
        """The line of a file. The value is in base64, and readable beside it as far as it is text."""
        facts: dict[str, Any] = {
            "name": self.name,
            "topic": self.topic,
            "key": self.key.decode(),
            "value_b64": None if self.value is None else b64encode(self.value).decode(),
            "verdict": self.verdict,
            "seen": self.seen,
            "schema_takes_it": self.seen == LOG or self.verdict == ACCEPT or self.name in BLIND,
            "amount": self.amount,
            "partition": {str(count): number for count, number in self.partitions.items()},
            "text": None if self.value is None else self.value.decode(errors="replace"),
        }
        return json.dumps(facts, ensure_ascii=False) + "\n"


def vectors(topic: str) -> Iterator[Vector]:
    """The vectors of a topic, always the same."""
    samples = SAMPLES[topic]
    for sample in samples:
        yield _accepted(topic, sample)
    if topic in ("llm_usage", "agent_rpc_metering"):
        yield _accepted(topic, samples[0])._replace(name="sent twice", verdict=REPEATED, seen=LOG, amount=None)
        other = samples[0].value.replace(b'"source":"', b'"source":"other-', 1)
        name = "an id that was used"
        yield Vector(name, topic, samples[0].key, other, Reason.CONFLICTING_DUPLICATE, LOG, None)
    sound = Sound(samples[0].key, samples[0].value, AT_MS, FAR_MS)
    for number, each in enumerate((*POISONS[topic], *MORE[topic])):
        # An id of its own, or all but the first would be repetitions.
        value = sound.value.replace(b"V0W", b"X%02d" % number, 1)
        key, spoilt = each.spoil(sound._replace(value=value), Random(each.name))
        yield Vector(each.name, topic, key, spoilt, each.reason, VALUE if each.by_value else LOG, None)


def _accepted(topic: str, sample: Sample) -> Vector:
    verdict = JUDGES[topic](sample.value)
    assert not isinstance(verdict, Rejected), (topic, sample.name, verdict)
    amount = None
    if isinstance(verdict, Usage):
        amount = money_text(verdict.data.cost_usd)
    elif isinstance(verdict, Metering):
        amount = money_text(verdict.amount)
    return Vector(sample.name, topic, sample.key, sample.value, ACCEPT, VALUE, amount)
