"""Rows that were written before costs were rounded and totals could hold more are still read."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from streamapp.meters.latency.codec import pack_tally, unpack_tally
from streamapp.meters.usage.codec import hour_key, pack_hour, unpack_hour
from tables.counters import Counters
from tables.latency.tally import NUMBERS, Tally
from tables.usage.hourly import HourKey, UsageRow

KEY = HourKey(1_736_935_200_000, "org_a", "team_a", "USD")


def test_an_hour_of_before() -> None:
    numbers = (1, 0, 0, 150, 230, Decimal("0.003800000000"))
    value = msgspec.msgpack.encode((True, 7, 7, 0, numbers, [("together", "zen-72b", *numbers)]))
    row = unpack_hour(hour_key(KEY), value)
    assert row.totals() == row.stated == Counters(*numbers)
    assert row.settled
    assert row.totals().total_tokens == 380


def test_an_hour_of_now() -> None:
    row = UsageRow(KEY)
    row.line("together", "zen-72b").add((1, 0, 0, 20, 198, Decimal("0.001000000000"), 405, 1))
    again = unpack_hour(hour_key(KEY), pack_hour(row))
    assert (again.totals().total_tokens, again.totals().rounded) == (623, 1)


def test_a_tally_of_before() -> None:
    before = [1, *[0] * 5, 7, *[0] * 28]
    tally = unpack_tally(msgspec.msgpack.encode((before, {"USD": Decimal(1)}, {}, {})))
    assert len(before) == NUMBERS - 4
    assert (tally.requests, tally.total_tokens, tally.ignored["latency", "unusable"]) == (1, 7, 0)
    assert unpack_tally(pack_tally(tally)) == tally
    assert len(Tally().numbers) == NUMBERS
