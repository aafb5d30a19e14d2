"""Every pair is checked while everything moves on: what is only late is no difference, what is lost or doubled is one.

Between any two looks of a check, whatever it looks at, arbitrary records arrive and the groups get on by any number of
steps (`moments_world`). One reading finds nothing then, so neither do the two of `look`. A fault is reported by the
third round of the reconciliation at the latest, with more arrivals all the while (docs/adr/0031).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import moments_world as mw
import pytest
from hypothesis import Phase, assume, find, given
from hypothesis import strategies as st
from moments_world import KeptLedger, Step, World
from searches import search

from streamapp.errors import Misconfigured
from streamapp.reconcile.reconciler import ROUNDS_DIFFERING, Reconciler
from streamapp.settings import ReconcileSettings, Settings
from streamapp.sinks.archive.store import ArchiveStore
from streamapp.verify.copies.archive_whole import verify_archive
from streamapp.verify.copies.events_clickhouse import Place, Row
from streamapp.verify.engine import Check
from streamapp.verify.pairs import PAIRS
from streamapp.verify.reading import LogReader
from streamapp.verify.report import PairReport

PAIR = {pair.name: pair for pair in PAIRS}
LEDGERS = ("bills=ledger", "settlements=ledger")


class Tried(NamedTuple):
    """A pair in the world: where its records arrive, who works, what the right side is besides Kafka, and what goes
    wrong."""

    source: str
    groups: tuple[str, ...]
    kept: Callable[[World], object] = lambda world: None
    faults: tuple[str, ...] = (mw.LOST, mw.DOUBLED)

    def check(self, name: str, world: World, kept: object = None) -> Check:
        """The pair's check of this world. `kept`: by default its own."""
        right = self.kept(world) if kept is None else kept
        return partial(PAIR[name].check, cluster=world, kept=right, clock=lambda: world.now_ms)


def ledger(world: World) -> object:
    return world.ledger


TRIED = {
    "usage=bills": Tried(mw.USAGE, ("billing-agg",), faults=(mw.LOST, mw.DOUBLED, mw.UNLETTERED)),
    "usage=crossings": Tried(mw.USAGE, ("billing-agg",), faults=()),  # tests/unit/test_verify_crossings.py
    "bills=ledger": Tried(mw.USAGE, ("billing-agg", "billing-ledger"), ledger, (mw.LOST, mw.DOUBLED, mw.RESTORED)),
    "usage=counters": Tried(mw.USAGE, ("billing-agg", "llm-metrics")),
    "metering=settlements": Tried(mw.METERING, ("rpc-billing",), faults=(mw.LOST, mw.DOUBLED, mw.UNLETTERED)),
    "settlements=ledger": Tried(
        mw.METERING, ("rpc-billing", "billing-ledger"), ledger, (mw.LOST, mw.DOUBLED, mw.RESTORED)
    ),
    "audit=archive": Tried(mw.TRAIL, ("audit-archive",), lambda world: world.store),
    "events=clickhouse": Tried(
        mw.EVENTS, ("analytics-ingest",), lambda world: world.rows, (mw.LOST, mw.DOUBLED, mw.UNLETTERED)
    ),
}
WEIGHTS = {mw.LOOK: 8, mw.WORK: 12, mw.RUN: 1, mw.CRASH: 1, mw.SLEEP: 3, mw.MERGE: 2, mw.FRESH: 5} | dict.fromkeys(
    mw.ARRIVALS[1:], 1
)
STEPS = st.tuples(
    st.sampled_from([name for name, weight in WEIGHTS.items() for _ in range(weight)]), st.integers(0, 31)
)
HISTORIES = st.lists(STEPS, min_size=60, max_size=120)
WHOLE = Settings(reconcile=ReconcileSettings(hours=0))
FAULTS = [(name, fault) for name, tried in TRIED.items() for fault in tried.faults]


def test_every_pair_is_tried() -> None:
    assert {name: tried.groups[-1] for name, tried in TRIED.items()} == {pair.name: pair.group for pair in PAIRS}


def reading(
    name: str, history: list[Step], settings: Settings = WHOLE, check: Callable[[World], Check] | None = None
) -> PairReport:
    """One reading, of a world that this history befalls before and while it is read. `check`: by default the pair's."""
    tried = TRIED[name]
    world = World(tried.source, tried.groups)
    half = len(history) // 2
    world.pass_by(history[:half])
    made = tried.check(name, world) if check is None else check(world)
    world.live(history[half:])
    return made(settings)


@pytest.mark.parametrize("name", TRIED)
@given(HISTORIES, st.sampled_from([0, 2]))
@search(80)
def test_what_is_only_late_is_no_difference(name: str, history: list[Step], hours: int) -> None:
    report = reading(name, history, Settings(reconcile=ReconcileSettings(hours=hours)))
    assert report.difference == 0, report.as_json()


@given(HISTORIES)
@search(80)
def test_an_archive_that_grows_is_whole(history: list[Step]) -> None:
    """`streamapp archive verify` lists the objects once and reads them, their entries and manifests one by one."""
    world = World(mw.TRAIL, ("audit-archive",))
    half = len(history) // 2
    world.pass_by(history[:half])
    world.live(history[half:])
    report = asyncio.run(verify_archive(cast(ArchiveStore, world.store), mw.TRAIL))
    assert report.ok, report.as_json()


@pytest.mark.parametrize(("name", "fault"), FAULTS)
@given(HISTORIES, HISTORIES, HISTORIES)
@search(16, least=4)  # of each of the faults
def test_what_is_lost_or_doubled_is_reported(
    name: str, fault: str, before: list[Step], after: list[Step], meanwhile: list[Step]
) -> None:
    tried = TRIED[name]
    world = World(tried.source, tried.groups, fault)
    if fault == mw.RESTORED:
        world.rest()  # there is something to lose
        # A worker that starts again reads what the ledger lacks (docs/adr/0009): nothing is lost then.
        after, meanwhile = ([step for step in steps if step[0] != mw.CRASH] for steps in (after, meanwhile))
    world.pass_by([*before, (mw.FAULT, 0), *after])
    world.rest()
    assume(world.faults)
    world.live(meanwhile)
    rounds = Reconciler(WHOLE, ((name, tried.check(name, world)),), lambda: world.now_ms)
    found = []
    for _ in range(ROUNDS_DIFFERING):
        rounds.round()
        found.append(rounds.standings[0].state)
    assert "wrong" in found


def test_an_id_that_comes_again_before_its_first_event_is_judged_waits() -> None:
    """llm-metrics has refused the first event and counted the second; billing-agg has come to neither."""
    world = World(mw.USAGE, TRIED["usage=counters"].groups)
    world.pass_by([(mw.STRICT, 0), (mw.SLEEP, 0), (mw.MENDED, 0)])
    for owner in world.owners:
        if owner.group == "llm-metrics":
            owner.finish()
    report = TRIED["usage=counters"].check("usage=counters", world)(WHOLE)
    assert (report.difference, report.waiting) == (0, 2), report.as_json()


def test_looks_in_another_order_are_refused() -> None:
    logs = LogReader(WHOLE.kafka, mw.USAGE, cluster=World(mw.USAGE, ("billing-agg",)))
    with pytest.raises(AssertionError, match="directory"):
        logs.org_of(None)
    logs.committed("billing-agg", mw.USAGE)
    logs.spans(mw.LETTERS)
    with pytest.raises(AssertionError, match="committed"):
        logs.committed("billing-agg", mw.USAGE)
    logs.spans(mw.USAGE)
    with pytest.raises(AssertionError, match="last"):
        logs.spans(mw.LETTERS)
    assert logs.org_of(None)("team_a") is None


def test_a_check_makes_no_ledger(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    settings = Settings(ledger_url=f"sqlite:///{file}")
    world = World(mw.METERING, ("rpc-billing", "billing-ledger"))
    for name in LEDGERS:
        assert PAIR[name].check(settings, cluster=world).difference == 0
        assert not file.exists()
    world.offsets["billing-ledger", mw.BILLS, 0] = 1
    for name in LEDGERS:
        with pytest.raises(Misconfigured, match="STREAM_LEDGER_URL"):
            PAIR[name].check(settings, cluster=world)
        assert not file.exists()


def early(name: str, topic: str) -> Callable[[World], Check]:
    """The pair's check, but for the ends of a topic: they are taken first."""

    def check(world: World) -> Check:
        world.take_early(topic)
        return TRIED[name].check(name, world)

    return check


class Unreplaced(mw.KeptRows):
    """Nobody asks what has replaced a row that is missing."""

    def newest(self, uuids: Collection[str]) -> dict[Row, Place]:
        return {}


def unreplaced(world: World) -> Check:
    world.rows = Unreplaced(world, world.rows.rows)
    return TRIED["events=clickhouse"].check("events=clickhouse", world)


def early_ledger(name: str) -> Callable[[World], Check]:
    """The ledger is read before the committed offsets."""

    def check(world: World) -> Check:
        kept = KeptLedger(world, dict(world.ledger.kept_rows), dict(world.ledger.kept_offsets))
        return TRIED[name].check(name, world, kept)

    return check


def early_archive(world: World) -> Check:
    return TRIED["audit=archive"].check("audit=archive", world, mw.KeptObjects(world, dict(world.store.objects)))


METRICS, CALLS = "llm-metrics-latency-changelog", "rpc-billing-rpc_hourly-changelog"
PLANTED = {
    "bills early": ("usage=bills", early("usage=bills", mw.BILLS)),
    "dead letters of usage early": ("usage=bills", early("usage=bills", mw.LETTERS)),
    "counted hours early": ("usage=counters", early("usage=counters", METRICS)),
    "dead letters of counted usage early": ("usage=counters", early("usage=counters", mw.LETTERS)),
    "dead letters of calls early": ("metering=settlements", early("metering=settlements", mw.LETTERS)),
    "table of calls behind its settlements": ("metering=settlements", early("metering=settlements", mw.BILLS)),
    "events replaced meanwhile": ("events=clickhouse", unreplaced),
    "dead letters of events early": ("events=clickhouse", early("events=clickhouse", mw.LETTERS)),
    "ledger of bills early": ("bills=ledger", early_ledger("bills=ledger")),
    "ledger of settlements early": ("settlements=ledger", early_ledger("settlements=ledger")),
    "archive early": ("audit=archive", early_archive),
}
RARE = {
    "dead letters of counted usage early",
    "ledger of settlements early",
}  # hundreds of histories until one shows it


@pytest.mark.parametrize(
    "planted", [pytest.param(name, marks=pytest.mark.long) if name in RARE else name for name in PLANTED]
)
def test_a_wrong_order_is_found_out(planted: str) -> None:
    name, check = PLANTED[planted]
    find(
        HISTORIES,
        lambda history: reading(name, history, check=check).difference > 0,
        settings=search(9600, phases=(Phase.generate,)),
    )
