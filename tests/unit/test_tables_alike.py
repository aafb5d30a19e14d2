"""What is true of every group's table, whichever it is."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from decimal import Decimal
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest
import rpc_log
from conftest import PROJECT
from letters_log import CourierInHand
from memory_store import MemoryStore
from usage_log import OUTPUTS, NowProducer, Rec, event, make_admission, now

from streamapp.exact.partition.owned import Partition
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.task import Parts, TableTask
from streamapp.lane.ids import IN_MEMORY
from streamapp.meters.calls.parts import calls_parts
from streamapp.meters.calls.rpc_codec import RPC
from streamapp.meters.hourly.codec import RowTable
from streamapp.meters.hourly.table import keyed_parts
from streamapp.meters.latency.codec import LATENCY
from streamapp.meters.latency.parts import latency_parts
from streamapp.meters.letters.codec import LETTERS
from streamapp.meters.letters.parts import letters_parts
from streamapp.meters.usage.parts import usage_parts
from streamapp.meters.usage.store import USAGE
from streamapp.meters.view import TableView
from streamapp.metrics import GroupMetrics
from streamapp.sinks.marks import marks
from streamapp.store.position import POSITION_KEY, StoredPosition, pack_position
from streamapp.store.table import Table
from tables.keyed import Recipe
from tables.letters.incident import AlertRules
from tables.seen import Held
from tables.window import Rules


class Key(NamedTuple):
    start_ms: int
    org_id: str


@dataclass
class Row:
    number: int = 0

    def count(self, event: Any) -> None:
        self.number += 1


COUNTS = RowTable("counts", Key, Row, attrgetter("org_id"))
COUNTING = Recipe(lambda start_ms, org, event: Key(start_ms, org), Row, Row.count)
RULES = Rules()


PARTS: dict[str, tuple[Table, Parts[Any, Any]]] = {
    "usage": (USAGE, usage_parts(RULES, make_admission())),
    "calls": (RPC, calls_parts(RULES, Decimal("0.01"), rpc_log.make_admission())),
    "latency": (LATENCY, latency_parts(RULES, make_admission())),
    "keyed": (COUNTS.table, keyed_parts(COUNTS, COUNTING, RULES, make_admission())),
    "letters": (LETTERS, letters_parts(AlertRules(), CourierInHand, None)),
}
WITH_IDS = ["usage", "calls", "latency", "keyed"]


def task_of(name: str, ids_in_memory: int = IN_MEMORY, folder: Any = None) -> TableTask[Any, Any]:
    table, parts = PARTS[name]
    outputs = {} if name in ("latency", "letters") else OUTPUTS
    place = Place("group", "topic", 0, "topic-id", 1, outputs, folder, entropy=bytes)
    return TableTask(parts, place, MemoryStore(table.unsettled), NowProducer(0), None, None, ids_in_memory)


def record(name: str, when: str, **more: Any) -> Rec:
    return rpc_log.call(when, **more) if name == "calls" else event(when, **more)


def apply(task: TableTask[Any, Any], *records: Rec) -> Any:
    outcomes: list[Any] = []
    task.landed, before = outcomes.append, task.memory.position.next_offset
    placed = [replace(one, offset=before + number) for number, one in enumerate(records)]
    now(task.commit(task.fold(placed, placed[-1].timestamp)))
    return outcomes[-1]


@pytest.mark.parametrize("name", WITH_IDS)
def test_so_many_ids_are_kept_in_memory_and_the_rest_in_a_file(name: str, tmp_path: Any) -> None:
    task = task_of(name, ids_in_memory=2_000, folder=tmp_path)
    apply(task, *(record(name, "10:30", id=f"id-{number}") for number in range(6_000)))
    seen = task.memory.seen
    assert (len(seen), seen.in_memory < 4_000) == (6_000, True)
    assert apply(task, record(name, "10:30", id="other")).accepted == 1


@pytest.mark.parametrize("name", WITH_IDS)
def test_a_repeat_that_is_too_late_as_well_is_a_repeat(name: str) -> None:
    task = task_of(name)
    first = record(name, "10:30")
    outcome = apply(task, first, record(name, "2025-02-20T10:30"), first)
    assert (outcome.accepted, outcome.duplicates, outcome.refusals) == (2, 1, [])
    assert (task.duplicates, task.rejected) == (1, 0)
    other = record(name, "10:30")
    assert [one.reason for one in apply(task, other).refusals] == ["too_late"]
    assert (task.duplicates, task.rejected) == (1, 1)


@pytest.mark.parametrize("name", WITH_IDS)
@pytest.mark.parametrize("times", [1, 2])
def test_an_id_is_remembered_when_the_first_event_was_days_late(name: str, times: int) -> None:
    task = task_of(name)
    first = record(name, "10:30")
    apply(task, first)
    jumps = [record(name, f"2025-01-{17 + 2 * number}T10:30") for number in range(times)]
    assert apply(task, *jumps, first).duplicates == (times == 1), "24 hours after the jump that closed its hour"


@pytest.mark.parametrize("name", PARTS)
def test_the_view_says_what_happened(name: str) -> None:
    task, clock_ms = task_of(name), [0]
    app = SimpleNamespace(ownership=SimpleNamespace(topic="topic"))
    metrics = GroupMetrics("group")
    view = TableView(app, metrics, lambda: clock_ms[0], PARTS[name][0])
    options: Any = {"fetch_from": 0, "silent_since_ms": 0, "idle_ms": 0, "clock": lambda: clock_ms[0]}
    partition = Partition(0, task, **options)
    view.taken({0: partition})
    first = record(name, "10:30")
    placed = [replace(one, offset=number) for number, one in enumerate((first, first, record(name, "10:31")))]
    now(task.commit(task.fold(placed, placed[-1].timestamp)))
    partition.last_record_ms = 0
    facts = view._partition_facts(partition, 0.0)
    assert (facts.state, facts.watermark_ms) == ("running", task.memory.position.watermark_ms)
    if name != "letters":  # what is no dead letter is counted and never refused
        assert facts.duplicates == 1
        assert b'stream_events_duplicate_total{group="group"} 1.0' in metrics.exposition()
    clock_ms[0] = 61_000
    assert view._partition_facts(partition, 0.0).state == "idle"


@pytest.mark.parametrize("table", [*(table for table, _ in PARTS.values()), marks("b")], ids=lambda t: t.name)
def test_the_position_row_is_shown_by_name(table: Table) -> None:
    position = StoredPosition(7, 5, -1, "id", 4, 9, secret=b"0123456789abcdef", held=(Held(1, 2),))
    parts, facts = table.readable(POSITION_KEY, pack_position(position))
    assert table.readable_key(parts) == POSITION_KEY
    shown = msgspec.json.decode(msgspec.json.encode(facts))
    assert (shown["next_offset"], shown["watermark_ms"], shown["partitions"]) == (7, 5, 4)
    assert shown["held"] == [{"from_ms": 1, "until_ms": 2}]
    assert "secret" not in shown


def test_the_package_lists_its_modules() -> None:
    folder = PROJECT / "tables"
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    listed, room = [], ""
    for word in (line.split()[0] for line in said.splitlines() if line.strip()):
        room = word if word.endswith("/") else room
        listed += [room + word] if word.endswith(".py") else []
    there = [path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if path.name != "__init__.py"]
    assert sorted(listed) == sorted(there)
