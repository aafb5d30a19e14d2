"""A service that reads bills, is killed at any moment and goes on: it ends with the ledger's rows, both ways."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_bills import Kept, billed, ledger_of
from searches import search

from streamapp.errors import Refused
from streamapp.kafka.bills.event import Unreadable, event_of, is_next
from streamapp.schemas.billing import BillingHourly, BillingRevised

BILLS = [value for _, value in billed()]
EVENTS = [event for value in BILLS if (event := event_of(0, 0, value)) is not None]
LIVES = st.lists(st.tuples(st.integers(0, 2 * len(BILLS)), st.booleans()), max_size=8)


@given(LIVES)
@search(100)
def test_a_reader_that_is_killed_ends_with_the_ledgers_rows(lives: list[tuple[int, bool]]) -> None:
    """In each of its lives it reads some, and saves or does not; what was not saved is read again. A group's member
    saves its rows, and its position only now and then."""
    saved, kept, committed, member = Kept(), Kept(), 0, Kept()
    for reads, saves in [*lives, (len(BILLS), True)]:
        begin = kept.position.get(0, 0)
        for offset in range(begin, min(begin + reads, len(BILLS))):
            kept.keep(EVENTS[offset])
            kept.position[0] = offset + 1
        saved, kept = (deepcopy(kept), kept) if saves else (saved, deepcopy(saved))
        end = min(committed + reads, len(BILLS))
        for event in EVENTS[committed:end]:
            member.keep(event)
        committed = end if saves else committed
    bills, _ = ledger_of(BILLS)
    for each in (saved, member):
        assert each.totals == bills
        assert each.sums == bills


def stated(revision: int) -> BillingHourly | BillingRevised:
    """A bill of some hour."""
    value = BILLS[0]
    tree = json.loads(value)
    if revision:
        tree["type"] = "billing.usage.revised"
        tree["data"] |= {"revision": revision, "supersedes": "evt_before"}
    event = event_of(0, 0, json.dumps(tree).encode())
    assert isinstance(event, BillingHourly | BillingRevised)
    return event


def test_a_gap_is_refused_and_a_repetition_counts_nothing() -> None:
    assert [is_next(stated(0), None), is_next(stated(0), 0), is_next(stated(1), 0), is_next(stated(1), 4)] == [
        True, False, True, False,
    ]  # fmt: skip
    with pytest.raises(Refused, match="is revision 2, and the last one counted of its hour is 0"):
        is_next(stated(2), 0)
    with pytest.raises(Refused, match="of its hour is none"):
        is_next(stated(1), None)


def test_a_type_of_tomorrow_is_passed_over_and_what_is_no_event_is_not() -> None:
    tomorrow = json.dumps({**json.loads(stated(0).model_dump_json()), "type": "billing.storage.hourly"})
    assert event_of(0, 0, tomorrow.encode()) is None
    with pytest.raises(Unreadable, match=r"billing_events partition 3 offset 7: .* begin at offset 8"):
        event_of(3, 7, b"{}")
