"""What consumers owe agents, line by line of decision 16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from rpc_log import WEEK, Calls, call
from usage_log import at, clock

from streamapp.meters.calls.rpc_codec import moved
from streamapp.replay.repartition_rows import position_after
from streamapp.schemas.settlement import RpcSettled, settlement_id
from streamapp.schemas.values.strict_json import parse
from streamapp.store.position import POSITION_KEY, pack_position
from streamapp.store.rows import Writes, stored_position
from tables.calls.ledger import CallsOutcome
from tables.calls.settlement import Settlement
from tables.window import HOUR_MS


def settled(of: CallsOutcome | Sequence[Settlement] | None) -> list[str]:
    """Settlements as lines to read."""
    found = of.settlements if isinstance(of, CallsOutcome) else of or ()
    return [
        f"{' '.join(one.account[1:])}: {one.calls} for {one.amount.normalize():f}, {clock(one.start_ms)} to "
        f"{clock(one.end_ms)}, at {clock(one.stated_ms)}"
        for one in found
    ]


def many(number: int, when: str, **more: Any) -> list[Any]:
    return [call(when, **more) for _ in range(number)]


def test_a_hundred_calls_at_a_thousandth_settle_exactly_at_a_tenth() -> None:
    table = Calls()
    table.apply(*many(100, "10:10"))
    assert settled(table.apply(call("11:04:59.999", agent="agent_b"))) == []
    assert settled(table.apply(call("11:05", agent="agent_b"))) == [
        "agent_a consumer_c AI: 100 for 0.1, 10:00 to 11:00, at 11:05"
    ]


def test_ninety_nine_wait_and_are_never_dropped() -> None:
    table = Calls()
    table.apply(*many(99, "10:10"))
    assert settled(table.apply(call("11:05", agent="agent_b"))) == []
    assert settled(table.apply(call("20:30"))) == []
    assert settled(table.apply(call("21:05", agent="agent_b"))) == [
        "agent_a consumer_c AI: 100 for 0.1, 10:00 to 21:00, at 21:05"
    ]


def test_what_waits_survives_a_restart() -> None:
    table = Calls()
    table.apply(*many(99, "10:10"), call("11:05", agent="agent_b"))
    table.restart()
    table.apply(call("11:30"))
    table.restart()
    assert settled(table.apply(call("12:05", agent="agent_b"))) == [
        "agent_a consumer_c AI: 100 for 0.1, 10:00 to 12:00, at 12:05"
    ]


def test_the_event_mirrors_the_receipt() -> None:
    table = Calls()
    table.apply(
        call("10:10", method="chat.send", price="0.25", quantity=2, chain="base", chain_id=8453, agent_wallet="0xA"),
        call("10:20", method="memory.search", price="0.000000000001", quantity=7, unit="per_token"),
        call("10:30", method="chat.send", price="0.25", status="error"),
        call("10:40", method="tools.list", price="9", free_tier=True, consumer_wallet="0xC"),
    )
    table.apply(call("11:05"))
    (event,) = table.events()
    made = settlement_id("org_a", "agent_a", "consumer_c", "AI", at("11:00"))
    assert event == {
        "schema": "hanzo.stream.v1",
        "id": made,
        "type": "billing.rpc.settled",
        "source": "rpc-billing",
        "timestamp": "2025-01-15T11:05:00.000Z",
        "org_id": "org_a",
        "data": {
            "settlement_id": made,
            "agent": "agent_a",
            "consumer": "consumer_c",
            "amount": "0.500000000007",
            "request_count": 4,
            "period_start": "2025-01-15T10:00:00.000Z",
            "period_end": "2025-01-15T11:00:00.000Z",
            "currency": "AI",
            "chain": "hanzo",
            "chain_id": 36963,
            "agent_wallet": None,
            "consumer_wallet": "0xC",
            "methods": {
                "chat.send": {"count": 2, "cost": "0.500000000000"},
                "memory.search": {"count": 1, "cost": "0.000000000007"},
                "tools.list": {"count": 1, "cost": "0.000000000000"},
            },
            "coverage": {
                "topic": "agent_rpc_metering",
                "partition": 0,
                "first_offset": 0,
                "last_offset": 3,
                "events": 4,
            },
        },
    }
    assert table.sends[0].key == b"org_a"
    RpcSettled.model_validate(parse(table.sends[0].value or b"")[0])


def test_accounts_are_apart_by_org_agent_consumer_and_currency() -> None:
    table = Calls()
    table.apply(
        call("10:01", price="1"),
        call("10:02", price="2", org="org_b"),
        call("10:03", price="4", agent="agent_b"),
        call("10:04", price="8", consumer="consumer_d"),
        call("10:05", price="16", currency="USDC"),
    )
    found = table.apply(call("11:05", price="32")).settlements
    assert [(*one.account, int(one.amount)) for one in found] == [
        ("org_a", "agent_a", "consumer_c", "AI", 1),
        ("org_a", "agent_a", "consumer_c", "USDC", 16),
        ("org_a", "agent_a", "consumer_d", "AI", 8),
        ("org_a", "agent_b", "consumer_c", "AI", 4),
        ("org_b", "agent_a", "consumer_c", "AI", 2),
    ]


def test_free_and_failed_calls_alone_never_settle_and_their_counts_wait() -> None:
    table = Calls()
    table.apply(call("10:01", free_tier=True, price="5"), call("10:02", status="error", price="5"))
    assert settled(table.apply(call("11:05", price="0.1"))) == []
    assert settled(table.apply(call("12:05", agent="agent_b"))) == [
        "agent_a consumer_c AI: 3 for 0.1, 10:00 to 12:00, at 12:05"
    ]


def test_a_late_call_counts_into_the_next_settlement_and_revises_none() -> None:
    table = Calls()
    table.apply(call("10:10", price="1"), call("11:10", price="2"))
    assert settled(table.outcomes[-1]) == ["agent_a consumer_c AI: 1 for 1, 10:00 to 11:00, at 11:05"]
    table.apply(call("10:50", price="4"))
    assert settled(table.apply(call("12:05"))) == ["agent_a consumer_c AI: 2 for 6, 10:00 to 12:00, at 12:05"]


def test_a_late_call_settles_with_the_next_hour_even_if_that_is_empty() -> None:
    table = Calls()
    table.apply(call("10:10", price="1"), call("12:20", agent="agent_b"), call("10:50", price="4"))
    assert settled(table.apply(call("14:59", agent="agent_b"))) == [
        "agent_a consumer_c AI: 1 for 4, 10:00 to 13:00, at 13:05"
    ]


def test_each_hour_that_is_crossed_settles_by_itself() -> None:
    table = Calls(replace(WEEK, grace_ms=2 * HOUR_MS))
    table.apply(call("10:10", price="1"), call("11:10", price="2"), call("12:10", price="0.01"))
    assert settled(table.apply(call("20:00"))) == [
        "agent_a consumer_c AI: 1 for 1, 10:00 to 11:00, at 13:00",
        "agent_a consumer_c AI: 1 for 2, 11:00 to 12:00, at 14:00",
    ]


def test_the_wall_clock_closes_a_silent_partition_and_never_an_hour_twice() -> None:
    table = Calls()
    table.apply(call("10:10", price="1"))
    assert table.idle("11:04:59") is None
    assert settled(table.idle("11:07")) == ["agent_a consumer_c AI: 1 for 1, 10:00 to 11:00, at 11:07"]
    assert table.idle("11:08") is None
    table.restart()
    table.apply(call("10:59", price="2"))  # of the hour that the clock has closed, and before its mark
    assert settled(table.apply(call("11:06", agent="agent_b"))) == []
    assert settled(table.apply(call("12:05", agent="agent_b"))) == [
        "agent_a consumer_c AI: 1 for 2, 10:00 to 12:00, at 12:05"
    ]
    assert len({event["id"] for event in table.events()}) == 2


def test_the_wall_clock_settles_late_calls_when_the_hour_after_is_over() -> None:
    table = Calls()
    table.apply(call("10:10"), call("11:06"), call("10:20", price="3"))
    assert table.idle("12:04:59") is None
    assert settled(table.idle("12:05")) == ["agent_a consumer_c AI: 3 for 3.002, 10:00 to 12:00, at 12:05"]


def test_what_is_not_a_call_of_this_partition_goes_to_dead_letter() -> None:
    table = Calls()
    lost = replace(call("10:04"), key=b"agent_b")
    ahead = replace(call("10:20"), timestamp=at("10:14:59"))
    reasons = [
        ("invalid_price", call("10:00", price="-1")),
        ("invalid_price", call("10:00", price="0.0000000000001")),
        ("invalid_price", call("10:00", price="NaN")),
        ("invalid_price", call("10:00", price=0.5)),
        ("invalid_price", call("10:00", price="1000000000000000000")),
        ("invalid_price", call("10:00", price="999999999999999999", quantity=2)),
        ("invalid_data", call("10:00", quantity=-1)),
        ("invalid_data", call("10:00", quantity=1.5)),
        ("invalid_data", call("10:00", unit="per_day")),
        ("invalid_data", call("10:00", agent="")),
        ("org_unresolved", call("10:00", org=None)),
        ("org_unresolved", call("10:00", org=None, team="team_nobody")),
        ("wrong_partition", lost),
        ("timestamp_in_future", ahead),
        ("record_timestamp_missing", replace(call("10:05"), timestamp=-1)),
        ("record_timestamp_missing", replace(call("10:05"), timestamp=0)),
        ("invalid_data", call("10:00", currency="1AI")),
    ]
    assert [reason for _, reason in refused_of(table.apply(*(record for _, record in reasons)))] == [
        reason for reason, _ in reasons
    ]
    assert table.task.memory.position.watermark_ms == -1


def test_the_directory_knows_the_org_of_a_team() -> None:
    table = Calls()
    table.apply(call("10:00", org=None, team="team_listed", price="1"))
    assert table.apply(call("11:05")).settlements[0].account.org == "org_listed"


def test_a_repeated_call_counts_once_and_a_contradiction_is_refused() -> None:
    table = Calls()
    first = call("10:00", id="one", price="1")
    outcome = table.apply(first, first, call("10:00", id="one", price="2"))
    assert (outcome.accepted, outcome.duplicates, refused_of(outcome)) == (1, 1, [(2, "conflicting_duplicate")])
    table.restart()
    assert table.apply(first).duplicates == 1
    assert table.apply(call("11:05")).settlements[0].amount == 1


def test_a_week_is_the_limit() -> None:
    table = Calls()
    table.apply(call("2025-01-22T12:00", agent="agent_b"))
    assert refused_of(table.apply(call("2025-01-15T11:59:59.999"))) == [(1, "too_late")]
    assert table.apply(call("2025-01-15T12:00", price="1")).accepted == 1
    assert settled(table.apply(call("2025-01-22T13:05"))) == [
        "agent_a consumer_c AI: 1 for 1, 12:00 to 2025-01-22T12:00, at 2025-01-22T12:05"
    ]


def test_the_sums_are_exact_at_both_ends() -> None:
    table = Calls()
    table.apply(call("10:00", price="999999999999999999.999999999999"), call("10:00", price="1e-12"))
    assert table.apply(call("11:05")).settlements[0].amount == Decimal(10**18)


def test_accounts_that_owe_nothing_go_after_the_retention_and_others_stay() -> None:
    table = Calls()
    table.apply(call("10:00", price="1"), call("10:00", agent="agent_b"), call("11:05", agent="agent_c", price="1"))
    assert [key[2] for key in table.rows("account")] == ["agent_a", "agent_b"]
    assert len(table.rows("settlement")) == 1
    table.apply(call("2025-01-22T10:59:59.999", agent="agent_d"))
    assert [key[2] for key in table.rows("account")] == ["agent_a", "agent_b", "agent_c"]
    table.apply(call("2025-01-22T11:00", agent="agent_d"))
    assert [key[2] for key in table.rows("account")] == ["agent_b", "agent_c"]
    table.apply(call("2025-01-22T12:00", agent="agent_d"))
    assert [key[2] for key in table.rows("account")] == ["agent_b", "agent_d"]
    assert table.rows("settlement") == []


def test_a_lower_minimum_settles_what_waits_with_the_next_hour() -> None:
    table = Calls()
    table.apply(call("10:00", price="0.05"), call("11:05", agent="agent_b"))
    table.min_amount = Decimal("0.05")
    table.restart()
    assert settled(table.apply(call("12:04:59", agent="agent_b"))) == []
    assert settled(table.apply(call("12:05", agent="agent_b"))) == [
        "agent_a consumer_c AI: 1 for 0.05, 10:00 to 12:00, at 12:05"
    ]


@pytest.mark.parametrize("at_once", [True, False])
def test_records_below_the_position_are_passed_over(at_once: bool) -> None:
    table = Calls()
    table.apply(*many(60, "10:10"))
    table.restart()
    again = table.log[:60]
    table.apply(*again, *many(40, "10:20")) if at_once else (table.apply(*again), table.apply(*many(40, "10:20")))
    assert settled(table.apply(call("11:05", agent="agent_b"))) == [
        "agent_a consumer_c AI: 100 for 0.1, 10:00 to 11:00, at 11:05"
    ]


def refused_of(outcome: CallsOutcome) -> list[tuple[int, str]]:
    return [(refusal.record.offset, refusal.reason) for refusal in outcome.refusals]


def test_open_hours_that_come_from_a_slower_partition_are_late_calls() -> None:
    slow, fast = Calls(), Calls()
    slow.apply(call("10:10", agent="agent_b", price="5"), call("10:20", agent="agent_b", price="1"))
    fast.apply(call("10:10", price="1"))
    assert settled(fast.apply(call("14:06"), call("13:50", price="1"))) == [
        "agent_a consumer_c AI: 1 for 1, 10:00 to 11:00, at 11:05"
    ]
    positions = {number: stored_position(table.store) for number, table in enumerate((fast, slow))}
    after = position_after(0, {n: at for n, at in positions.items() if at is not None}, "topic-id", 2, 3)
    rows: Writes = {key: moved(key, value) for key, value in slow.store.scan(b"h", b"l") if key[:1] in b"hk"}
    fast.store.write({**rows, POSITION_KEY: pack_position(after)}, fast.store.checkpoint())
    fast.restart()
    assert settled(fast.apply(call("14:07", price="0"))) == [], "no hour has closed"
    assert settled(fast.apply(call("15:05", price="0"))) == [
        "agent_a consumer_c AI: 3 for 1.001, 13:00 to 15:00, at 15:05",
        "agent_b consumer_c AI: 2 for 6, 10:00 to 15:00, at 15:05",
    ]
