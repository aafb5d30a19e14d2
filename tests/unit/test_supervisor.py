"""The supervisor, with real and tiny child processes. The clock of the pauses is a number."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamapp.processes.supervisor import BACKOFF_MAX_S, STEADY_S, Job, News, Supervisor

Until = Callable[..., None]

FOREVER = "import threading; threading.Event().wait()"
# Says when it is told to stop, so that the order can be read.
POLITE = """
import signal, sys, threading
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
print("ready", flush=True)
stop.wait()
with open(sys.argv[1], "a") as file:
    file.write(sys.argv[2] + " ")
"""


def job(code: str, *arguments: str, name: str = "job", stage: int = 1, ends: bool = False) -> Job:
    return Job(name, (sys.executable, "-Sc", code, *arguments), stage, ends)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []

    def make(*jobs: Job) -> Supervisor:
        made.append(Supervisor(jobs, tmp_path / "logs"))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def next_news(supervisor: Supervisor, until: Until, now_s: float = 0) -> list[News]:
    found: list[News] = []

    def some() -> bool:
        found.extend(supervisor.tick(now_s))
        return bool(found)

    until(some)
    return found


def runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_crashed_process_starts_again_after_longer_and_longer_pauses(
    supervise: Callable[..., Supervisor], until: Until
) -> None:
    supervisor, now_s, pauses = supervise(job("raise SystemExit(3)")), 0.0, []
    for _ in range(4):
        (news,) = next_news(supervisor, until, now_s)
        assert news.text.startswith("ended with exit code 3; restarts in ")
        pauses.append(float(news.text.split(" in ")[1].split(" s")[0]))
        assert supervisor.tick(now_s + pauses[-1] - 0.01) == []
        now_s += pauses[-1]
        supervisor.tick(now_s)
    assert pauses == [0.5, 1, 2, 4]


def test_pauses_are_bounded_and_begin_anew_after_a_steady_time(
    supervise: Callable[..., Supervisor], until: Until
) -> None:
    supervisor, now_s, texts = supervise(job("raise SystemExit(3)")), 0.0, []
    for _ in range(9):
        texts.append(next_news(supervisor, until, now_s)[0].text)
        now_s += BACKOFF_MAX_S
        supervisor.tick(now_s)
    assert f"in {BACKOFF_MAX_S:g} s" in texts[-1]
    steady = next_news(supervisor, until, now_s + STEADY_S + 1)
    assert "in 0.5 s" in steady[0].text


def test_a_killed_process_is_told_by_its_signal(supervise: Callable[..., Supervisor], until: Until) -> None:
    supervisor = supervise(job(FOREVER))
    pid = supervisor.pid("job")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert next_news(supervisor, until)[0].text.startswith("ended with signal 9")
    supervisor.tick(1)
    until(lambda: supervisor.pid("job") not in (None, pid))


def test_a_misconfigured_process_is_not_started_again_and_its_message_is_told(
    supervise: Callable[..., Supervisor], until: Until
) -> None:
    code = "import sys; print('noise'); sys.stderr.write('streamapp: set STREAM_THIS\\n'); sys.exit(78)"
    supervisor = supervise(job(code))
    found: list[News] = []
    while not any(news.fatal for news in found):
        found += next_news(supervisor, until)
    assert found[-1] == News("job", "set STREAM_THIS", fatal=True)
    assert supervisor.tick(1000) == []
    assert supervisor.running == ()


def test_a_process_that_ends_by_itself_is_done(supervise: Callable[..., Supervisor], until: Until) -> None:
    supervisor = supervise(job("", ends=True))
    until(lambda: supervisor.tick(0) == [] and supervisor.done("job"))
    assert supervisor.tick(1000) == []
    assert supervisor.running == ()


def test_errors_are_told_once_and_everything_is_in_the_log(
    supervise: Callable[..., Supervisor], until: Until, tmp_path: Path
) -> None:
    levels = (("INFO", "fine"), ("ERROR", "broken"), ("ERROR", "broken"))
    lines = [f"[2026-01-01 00:00:0{number}] [1] [{level}] {text}" for number, (level, text) in enumerate(levels)]
    supervisor = supervise(job(f"print(*{lines!r}, sep=chr(10), flush=True); {FOREVER}"))
    (news,) = next_news(supervisor, until)
    assert news == News("job", "broken", said=True)
    assert supervisor.tick(0) == []
    assert (tmp_path / "logs" / "job.log").read_text().splitlines() == lines


def test_a_log_keeps_the_words_of_a_process_that_crashed(
    supervise: Callable[..., Supervisor], until: Until, tmp_path: Path
) -> None:
    supervisor = supervise(job("import os; print(os.getpid(), flush=True); raise SystemExit(1)"))
    log = tmp_path / "logs" / "job.log"
    next_news(supervisor, until)
    supervisor.tick(10)
    until(lambda: len(log.read_text().splitlines()) == 2)


def test_the_environment_of_a_job_is_added(supervise: Callable[..., Supervisor], until: Until, tmp_path: Path) -> None:
    code = "import os; print(os.environ['STREAM_A'], 'PATH' in os.environ, flush=True)"
    supervise(Job("job", (sys.executable, "-Sc", code), 1, True, (("STREAM_A", "b c"),)))
    until(lambda: (tmp_path / "logs" / "job.log").read_text() == "b c True\n")


def test_stages_stop_one_after_the_other(supervise: Callable[..., Supervisor], until: Until, tmp_path: Path) -> None:
    order, logs = tmp_path / "order", tmp_path / "logs"
    names = (("last", 3), ("first", 1), ("middle", 2))
    jobs = [job(POLITE, str(order), name, name=name, stage=stage) for name, stage in names]
    supervisor = supervise(*jobs)
    until(lambda: all("ready" in (logs / f"{name}.log").read_text() for name, _ in names))
    supervisor.stop()
    assert order.read_text().split() == ["first", "middle", "last"]
    assert supervisor.running == ()
    assert supervisor.tick(1000) == []


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path, until: Until) -> None:
    code = f"""
import sys, threading
from pathlib import Path
from streamapp.processes.supervisor import Job, Supervisor
job = Job("job", (sys.executable, "-Sc", {FOREVER!r}), 1)
supervisor = Supervisor([job], Path({str(tmp_path)!r}))
supervisor.start()
print(supervisor.pid("job"), flush=True)
threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert runs(child)
        parent.kill()
    until(lambda: not runs(child))


def test_errors_of_an_earlier_run_are_no_news(tmp_path: Path, until: Until) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "job.log").write_text("[2026-01-01 00:00:00] [1] [ERROR] of the day before\n")
    supervisor = Supervisor([job(f"print('[t] [1] [ERROR] of today', flush=True); {FOREVER}")], logs)
    try:
        assert supervisor.tick(0) == []
        supervisor.start()
        assert next_news(supervisor, until) == [News("job", "of today", said=True)]
    finally:
        supervisor.stop()
    assert "of the day before" in (logs / "job.log.1").read_text()


def test_expected_errors_are_counted_and_not_told(tmp_path: Path, until: Until) -> None:
    lines = [f"[t] [1] [ERROR] incident opened: {number}" for number in range(3)]
    code = f"print(*{lines!r}, sep=chr(10), flush=True); {FOREVER}"
    supervisor = Supervisor([job(code)], tmp_path / "logs", re.compile("incident opened"))
    supervisor.start()
    try:
        until(lambda: supervisor.tick(0) == [] and supervisor.counted == 3)
    finally:
        supervisor.stop()
