"""What `streamapp run` shows: numbers of the front page, and one message for one cause."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import wait_until
from rich.console import Console

from streamapp.cli.checks.verify import Verdict
from streamapp.cli.local.run import headline
from streamapp.errors import Unavailable
from streamapp.local.console import Front, GroupNow, Money, Now, Screen, packed, picture, summary
from streamapp.local.news import AFTER_S, HOLD_S, Reporter
from streamapp.processes.supervisor import News
from streamapp.verify.pairs import Outcome

NOW = Now(
    [GroupNow("billing-agg", "running", 1_234, 250.4, 2), GroupNow("analytics-ingest", "never started")],
    [Money("USD", "1.00", "45.012102306182")],
    1_234,
    300.0,
    120,
    220,
)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_table_fits_the_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(picture(NOW, ["billing-agg", "analytics-ingest"], "everything is read", 11, width))
    text = console.export_text()
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert "billing-agg" in text
    assert "1,234" in text
    assert "billed today 45.01 USD" in " ".join(text.split())


def test_incidents_are_counted_and_explained() -> None:
    assert summary(NOW, 11)[-2:] == ["220 dead letters in 11 incidents", "the demo sends invalid events on purpose"]
    assert summary(NOW, 0)[-2] == "220 dead letters"
    assert summary(Now(open_hours=1, letters_waiting=1), 1)[1:3] == ["1 bill open", "1 dead letter in 1 incident"]
    assert summary(None, 3) == []


@pytest.mark.parametrize("state", ["rebalancing", "restoring", "silent", "no worker"])
def test_no_sum_of_money_is_told_while_a_part_of_it_is_on_its_way(state: str) -> None:
    moving = Now([GroupNow("billing-agg", state), *NOW.groups[1:]], NOW.money, NOW.lag, 1.0, NOW.open_hours, 220)
    assert summary(moving, 0) == ["1 event/s", "lag 1,234", *summary(NOW, 0)[-2:]]


def test_lag_is_said_once() -> None:
    assert "lag 1,234" in summary(NOW, 0)
    assert not any(part.startswith("lag") for part in summary(NOW, 0, lag=False))


@pytest.mark.parametrize("why", ["is it there?", "it is away", "it is away."])
def test_a_problem_with_kafka_ends_with_one_mark(why: str) -> None:
    told: list[str] = []
    Reporter(told.append, Path("logs")).kafka(False, why, 0)
    assert told == [f"Problem: {why.rstrip('.')}{'' if why.endswith('?') else '.'} The processes wait for it."]


def test_parts_stay_whole_and_lines_within_the_width() -> None:
    assert packed(["a b", "", "c", "d"], 7) == ["a b · c", "d"]
    assert all(len(line) <= 78 for line in packed(summary(NOW, 1_000), 78))


def test_without_a_terminal_a_line_now_and_then(tmp_path: Path) -> None:
    out = io.StringIO()
    with Screen(Console(file=out, width=80), Front("http://127.0.0.1:1/"), [], lambda: "starting", lambda: 0) as screen:
        screen.refresh()
        screen.refresh()
    assert out.getvalue() == "starting\n"


def test_the_page_is_asked_without_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving_json(b'{"lag": 7}') as url:
        front = Front(url)
        front.start()
        try:
            wait_until(lambda: front.now is not None)
        finally:
            front.stop()
    assert front.now == Now(lag=7)


@contextmanager
def serving_json(body: bytes) -> Iterator[str]:
    """A server that answers everything with this; its address."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)


def test_a_message_is_told_after_a_while_with_its_log() -> None:
    told: list[str] = []
    reporter = Reporter(told.append, Path("logs"))
    reporter.add([News("a", "it broke", said=True), News("b", "ended with signal 9")], 0)
    assert told == []
    reporter.add([], HOLD_S)
    assert told == ["Problem: a reports: it broke (log: logs/a.log)", "Problem: b: ended with signal 9"]


def test_nothing_is_kept_back_at_the_end() -> None:
    told: list[str] = []
    reporter = Reporter(told.append, Path("logs"))
    reporter.kafka(False, "Kafka does not answer.", 0)
    reporter.kafka(True, "", 1)
    reporter.add([News("a", "of the outage")], 1)
    reporter.add([News("b", "just now", said=True)], 1 + HOLD_S)
    reporter.flush()
    assert told[2:] == [
        "Problem: b reports: just now (log: logs/b.log)",
        "Further messages about Kafka's outage, 1 in all, are in logs/.",
    ]


def test_one_question_without_an_answer_is_no_outage_and_holds_back_what_may_come_of_one() -> None:
    told: list[str] = []
    reporter = Reporter(told.append, Path("logs"))
    reporter.unanswered("Kafka does not answer", 0)
    reporter.add([News("a", "it failed")], 1)
    reporter.add([], 1 + HOLD_S)
    assert told == []
    reporter.kafka(True, "", 10)
    reporter.add([], 10)
    assert told == ["Problem: a: it failed"]
    reporter.unanswered("Kafka does not answer", 20)
    reporter.add([News("b", "it failed")], 21)
    reporter.unanswered("Kafka does not answer", 30)
    reporter.add([], 30)
    assert told[1:] == ["Problem: Kafka does not answer. The processes wait for it."]


def test_a_broker_that_does_not_answer_is_one_message_and_one_when_it_does() -> None:
    told: list[str] = []
    reporter = Reporter(told.append, Path("logs"))
    for second in range(35):
        reporter.add([News(f"worker-{second % 15}", f"failed {second}", said=True)], second)
        reporter.kafka(False, "Kafka does not answer.", second)
    reporter.kafka(True, "", 35)
    reporter.add([News("worker-1", "failed late")], 36)
    reporter.add([], 36 + HOLD_S)
    assert len(told) == 2
    assert told[0] == "Problem: Kafka does not answer. The processes wait for it."
    assert told[1].startswith("Kafka answers again. Messages of processes about it, 35 in all, are in logs/.")
    reporter.add([News("worker-1", "something else")], 36 + AFTER_S)
    reporter.add([], 36 + AFTER_S + HOLD_S)
    assert told[2] == "Problem: worker-1: something else"


def test_the_verdict_is_one_line() -> None:
    away = Outcome("usage=bills", 1.0, error=Unavailable("Kafka does not answer"))
    assert "usage=bills could not be checked" in headline(Verdict(None, [away])).plain
    assert "everything is correct" in headline(Verdict(None, [])).plain
