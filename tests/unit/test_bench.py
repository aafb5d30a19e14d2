"""The benchmark's own arithmetic: the same input for ever, an oracle that is right, a report of the promised shape."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # `bench` is not part of what is installed

from bench.base import CannotRun, pairs_of, row_of, worktree
from bench.contender import billed, stated
from bench.contenders import CONTENDERS, named
from bench.curve import shapes
from bench.events import BASE_MS, CLOSING_MS, END_MS, HOUR_MS, PARTITIONS, Shape, closing_keys, cost_text, generate
from bench.latency import Seen, bill_delays, quantiles, row_delays
from bench.measure import Sample, figures, summary, with_ratios
from bench.oracle import Bucket, Totals, differences, dump, parse, pico, totals_of
from bench.plot import bars
from bench.proc import use_of
from bench.profile import module_of
from bench.profile import parse as parse_profile
from streamapp.kafka.log.reader import Record
from streamapp.schemas.judging.decode import decode_usage
from streamapp.schemas.judging.rejected import Rejected
from streamapp.topics.partitioner import partition_for
from tables.window import Rules

SMALL = Shape(2_000, teams=50)


def test_the_same_shape_gives_the_same_bytes() -> None:
    digest = sha256("\n".join(event.value for event in generate(Shape(500, teams=20))).encode()).hexdigest()
    assert digest == "5c7935db5f67719d2cd2d3bbaf2ab114d1234986964594eb72be17730e3efc8b"
    assert list(generate(SMALL)) == list(generate(SMALL))
    assert list(generate(SMALL)) != list(generate(Shape(2_000, teams=50, seed=2)))


def test_events_are_usage_events_of_the_standards_size() -> None:
    events = list(generate(SMALL))
    assert len(events) == SMALL.records
    assert 500 < sum(len(event.value) for event in events) / len(events) < 540
    for event in events:
        usage = decode_usage(event.value.encode())
        assert not isinstance(usage, Rejected)
        assert (usage.team_id, usage.at_ms) == (event.key, event.at_ms)
    assert len({json.loads(event.value)["id"] for event in events}) == len(events)


def test_teams_are_zipf_and_no_event_is_late() -> None:
    events = list(generate(SMALL))[: SMALL.events]
    counts = [count for _, count in Counter(event.key for event in events).most_common()]
    assert counts[0] > 10 * counts[-1]
    watermark_ms = BASE_MS
    for event in events:
        assert BASE_MS <= event.at_ms < END_MS
        assert event.at_ms > watermark_ms - Rules().grace_ms
        watermark_ms = max(watermark_ms, event.at_ms)


def test_the_last_record_of_every_partition_closes_its_hours() -> None:
    closing = list(generate(SMALL))[SMALL.events :]
    assert [partition_for(event.key.encode(), PARTITIONS) for event in closing] == list(range(PARTITIONS))
    assert {event.at_ms for event in closing} == {CLOSING_MS}
    assert END_MS + Rules().grace_ms <= CLOSING_MS
    assert tuple(event.key for event in closing) == closing_keys()


@pytest.mark.parametrize(
    ("nano", "text"), [(3_800_000, "0.0038"), (1, "0.000000001"), (10**9, "1"), (12_500_000_000, "12.5")]
)
def test_costs_are_written_without_superfluous_zeros(nano: int, text: str) -> None:
    assert cost_text(nano) == text
    assert pico(text) == nano * 1_000


def usage(hour: int, team: str, tokens: int, cost: str, currency: str | None = None) -> str:
    data = {"total_tokens": tokens, "cost_usd": "COST"} | ({"currency": currency} if currency else {})
    event = {"timestamp": f"2025-01-15T{hour:02d}:59:59.999Z", "team_id": team, "org_id": "org_1", "data": data}
    return json.dumps(event).replace('"COST"', cost)


def test_the_oracle_on_an_example_made_by_hand() -> None:
    table = totals_of(
        [
            usage(0, "a", 10, "0.1"),
            usage(0, "a", 5, "0.2"),
            usage(0, "a", 1, "0.000000000001", "EUR"),
            usage(1, "a", 7, "3"),
            usage(0, "b", 2, "1e-3"),
            usage(6, "closing", 1, "1"),  # past the hours that count
        ]
    )
    assert table == {
        Bucket(BASE_MS, "org_1", "a", "USD"): Totals(2, 15, 300_000_000_000),  # 0.1 + 0.2 is 0.3 here
        Bucket(BASE_MS, "org_1", "a", "EUR"): Totals(1, 1, 1),
        Bucket(BASE_MS + HOUR_MS, "org_1", "a", "USD"): Totals(1, 7, 3 * 10**12),
        Bucket(BASE_MS, "org_1", "b", "USD"): Totals(1, 2, 10**9),
    }
    assert parse(dump(table)) == table


def test_the_oracle_refuses_what_it_cannot_count_exactly() -> None:
    with pytest.raises(ValueError, match="12 decimals"):
        pico("0.0000000000001")


def test_differences_name_missing_wrong_and_made_up_hours() -> None:
    one, two, three = (Bucket(BASE_MS, "o", team, "USD") for team in "abc")
    expected = {one: Totals(1, 1, 1), two: Totals(1, 1, 1)}
    assert differences(expected, dict(expected)) == []
    sentences = differences(expected, {two: Totals(1, 1, 2), three: Totals(1, 1, 1)})
    assert [sentence.split("/")[2] for sentence in sentences] == ["a", "b", "c"]
    assert "None instead of" in sentences[0]
    assert "instead of None" in sentences[2]


def records(*rows: tuple[bytes, bytes]) -> Iterator[Record]:
    return (Record("topic", 0, offset, 0, key, value) for offset, (key, value) in enumerate(rows))


def test_the_last_statement_of_an_hour_counts() -> None:
    key = f"{BASE_MS}|org_1|a|USD".encode()
    rows = (
        (key, b'{"events": 1, "tokens": 2, "pico": 3}'),
        (b'"' + key + b'"', b'{"events": 2, "tokens": 4, "pico": 6}'),  # as Faust writes a key
        (f"{END_MS}|org_1|a|USD".encode(), b'{"events": 1, "tokens": 1, "pico": 1}'),
    )
    assert stated(lambda topic: records(*rows)) == {Bucket(BASE_MS, "org_1", "a", "USD"): Totals(2, 4, 6)}


def bill(revision: int, requests: int) -> bytes:
    data = {
        "revision": revision,
        "period_start": "2025-01-15T00:00:00.000Z",
        "currency": "USD",
        "totals": {"requests": requests, "total_tokens": 10, "cost": "0.300000000000"},
    }
    return json.dumps({"team_id": "a", "org_id": "org_1", "data": data}).encode()


def test_the_highest_revision_of_a_bill_counts() -> None:
    got = billed(lambda topic: records((b"", bill(1, 3)), (b"", bill(0, 2))))
    assert got == {Bucket(BASE_MS, "org_1", "a", "USD"): Totals(3, 10, 300_000_000_000)}


def sample(at_s: float, done: int, cpu_us: float) -> Sample:
    return Sample(at_s, done, cpu_us, int(at_s) << 20, 2 * cpu_us)


def test_figures_leave_out_the_start_and_the_waiting_behind_the_end() -> None:
    run = figures(
        [sample(0, 0, 0), sample(5, 100, 900), sample(6, 400, 2_000), sample(8, 1_000, 5_000), sample(9, 1_000, 9_000)]
    )
    assert (run.events, run.events_per_s, run.from_start_s) == (1_000, 300, 8)
    assert run.cpu_us_per_event == (5_000 - 900) / 900
    assert (run.events_per_s_steady, run.cpu_us_steady) == (300, 5)
    assert (run.cpu_us_from_start, run.rss_mb, run.correct) == (5, 9, True)


def test_figures_need_progress() -> None:
    with pytest.raises(ValueError, match="nothing was processed"):
        figures([sample(0, 0, 0), sample(1, 0, 5)])


def test_the_report_has_the_promised_shape() -> None:
    samples = [sample(0, 0, 0), sample(1, 100, 100), sample(2, 1_000, 5_000)]
    good, bad = figures(samples), figures(samples, ["one hour is wrong"])
    rows = with_ratios([summary("ours", [good, good]), summary("peer", [good, bad])], "peer")
    assert json.loads(json.dumps(rows)) == rows
    for row in rows:
        assert {"name", "events_per_s", "cpu_us_per_event", "rss_mb", "correct"} <= row.keys()
        assert row["ratio"] == 1.0
    assert [row["correct"] for row in rows] == [True, False]
    assert [row["rounds"] for row in rows] == [2, 2]
    assert all(type(row["events"]) is int for row in rows)
    assert with_ratios([summary("ours", [good])], "peer")[0]["ratio"] is None


def test_the_plot_names_everybody() -> None:
    row = {"name": "ours & co", "events_per_s": 1_000.0, "cpu_us_per_event": 5.0, "correct": True}
    drawing = bars([row, {**row, "name": "peer", "correct": False}], "1 < 2")
    assert drawing.startswith("<svg")
    assert all(text in drawing for text in ("ours &amp; co", "peer", "1 &lt; 2", "1,000"))


def test_contenders_are_found_by_name() -> None:
    assert named("") == CONTENDERS
    assert [contender.name for contender in named("floor, ours")] == ["floor", "ours"]
    with pytest.raises(ValueError, match="nobody: no such contender"):
        named("ours,nobody")


def test_every_environment_is_pinned() -> None:
    files = sorted((Path(__file__).parents[2] / "bench").glob("*/requirements.txt"))
    assert {file.parent.name for file in files} == {"bytewax", "capture", "faust", "floor", "quix"}
    for file in files:
        assert all("==" in line for line in file.read_text().splitlines() if line), file


def test_delays_of_rows_and_bills() -> None:
    seen = Seen()
    seen.at_ms[0] = [BASE_MS, BASE_MS + HOUR_MS, BASE_MS + HOUR_MS + Rules().grace_ms, BASE_MS + HOUR_MS]
    seen.acked_s[0] = [1.0, 2.0, 3.0, 4.0]
    seen.visible[0] = [(2, 2.5), (4, 4.25)]
    seen.bills = [(0, BASE_MS, 3.5), (1, BASE_MS, 9.0)]  # nobody saw the mark of partition 1
    assert row_delays(seen, seen.acked_s) == [1.5, 0.5, 1.25, 0.25]
    assert bill_delays(seen, Rules()) == [0.5]
    assert quantiles([0.001, 0.002, 0.004]) == {"p50_ms": 2.0, "p99_ms": 4.0, "max_ms": 4.0}


def test_profile_counts_the_top_of_each_stack() -> None:
    seen = parse_profile(
        [
            "main (/x/a.py:1);apply (/x/tables/usage/ledger.py:62) 7",
            "apply (/x/tables/usage/ledger.py:70) 3",
            "not a stack",
        ]
    )
    assert seen.functions == {("apply", "/x/tables/usage/ledger.py"): 10}
    assert seen.modules() == {"tables.usage.ledger": 10}
    assert module_of("/v/site-packages/aiokafka/consumer/fetcher.py") == "aiokafka"
    assert module_of("/usr/lib/python3.11/json/encoder.py") == "python: encoder"


def test_the_curve_has_no_shape_twice() -> None:
    wanted = shapes((100, 1_000), (10, 1_000))
    assert wanted == [Shape(100), Shape(1_000), Shape(1_000, 10)]


def _repository(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / "streamapp" / name.replace("__", "/") / "build.py"
        path.parent.mkdir(parents=True)
        path.write_text(content)
    (folder / "README").touch()
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run(("git", *who, *command), cwd=folder, check=True)
    return folder


def test_a_base_is_a_worktree_with_its_own_fast_path_and_leaves_nothing(tmp_path: Path) -> None:
    script = "from pathlib import Path; (Path(__file__).parent / 'lane.so').write_text('made')"
    project = _repository(tmp_path, old__place=script)
    with worktree("HEAD", project) as tree:
        assert (tree / "streamapp/old/place/lane.so").read_text() == "made"
        assert tree.resolve() != project.resolve()
    assert not tree.exists()
    listed = subprocess.run(("git", "worktree", "list"), cwd=project, check=True, capture_output=True, text=True)
    assert len(listed.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("commit", "files", "said"),
    [
        ("no-such", {"lane": ""}, "commit no-such: .*no-such"),
        ("HEAD", {}, "HEAD has 0 scripts"),
        ("HEAD", {"lane": "raise SystemExit('no compiler')"}, "compiling the fast path of HEAD: no compiler"),
    ],
)
def test_a_base_that_cannot_run_says_why(tmp_path: Path, commit: str, files: dict[str, str], said: str) -> None:
    project = _repository(tmp_path, **files)
    with pytest.raises(CannotRun, match=said), worktree(commit, project):
        raise AssertionError("unreachable")


@pytest.mark.parametrize(
    ("now", "rounds"),
    [([1.0] * 3, 3), ([1.2] * 9, 9), ([1.2, 1.2, 1.2, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0], 9), ([1.2, 1.2, *[1.0] * 4], 6)],
)
def test_a_group_that_looks_dearer_gets_more_rounds(now: list[float], rounds: int) -> None:
    costs, names = iter(now), list[str]()

    def measure(name: str, number: int) -> float:
        names.append(name)
        return 1.0 if name == "base" else next(costs)

    pairs = list(pairs_of(measure, 3))
    assert len(pairs) == rounds
    assert names[:4] == ["base", "ours", "ours", "base"]


def test_a_groups_row_has_the_ratio_and_its_spread() -> None:
    assert row_of("billing-agg", [(5.0, 5.5), (10.0, 8.0), (4.0, 4.0)]) == {
        "group": "billing-agg",
        "base_cpu_us": 5.0,
        "cpu_us": 5.5,
        "ratio": 1.0,
        "ratio_min": 0.8,
        "ratio_max": 1.1,
        "rounds": 3,
    }


def test_processes_that_are_gone_use_nothing() -> None:
    assert use_of([2**22 + 1]).rss_bytes == 0
