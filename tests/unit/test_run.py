"""Parts of `streamapp run` that need no broker: what is refused, what is wiped, what counts as read."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from rich.console import Console

from streamapp.cli.run_stack import Stack, simulate_job, wipe, worker_jobs
from streamapp.errors import Misconfigured, Refused
from streamapp.ops.lag import behind
from streamapp.settings import ArchiveSettings, BrokerSettings, KafkaSettings, Settings

A, B = ("llm_usage", 0), ("llm_usage", 1)


def settings(state_dir: Path, **given: object) -> Settings:
    return Settings.model_validate({"broker": BrokerSettings(port=0), "state_dir": state_dir, **given})


def stack(configured: Settings) -> Stack:
    return Stack(configured, Console(quiet=True), threading.Event())


def test_lag_is_what_is_not_committed_of_what_is_there() -> None:
    assert behind({A: 0, B: 0}, {A: 10, B: 5}, {A: 7}) == 8
    assert behind({A: 0, B: 0}, {A: 10, B: 5}, {A: 10, B: 5}) == 0


def test_records_that_retention_took_away_are_not_behind() -> None:
    assert behind({A: 8}, {A: 10}, {}) == 2
    assert behind({A: 10}, {A: 10}, {}) == 0


def test_markers_of_transactions_at_the_end_are_not_behind() -> None:
    assert behind({A: 0}, {A: 10}, {A: 8}, markers=2) == 0
    assert behind({A: 0}, {A: 10}, {A: 7}, markers=2) == 1


def test_one_state_directory_serves_one_run(tmp_path: Path) -> None:
    with stack(settings(tmp_path)), pytest.raises(Refused, match="another `streamapp run`"):
        stack(settings(tmp_path))
    with stack(settings(tmp_path)):
        pass


def test_settings_that_a_worker_would_refuse_stop_the_run_first(tmp_path: Path) -> None:
    for wrong in ({"ledger_url": "mysql://x"}, {"directory": tmp_path / "missing.toml"}):
        with stack(settings(tmp_path, **wrong)) as refusing, pytest.raises(Misconfigured):
            refusing.start_kafka()


def test_a_fresh_start_wipes_what_runs_leave_and_nothing_else(tmp_path: Path) -> None:
    left = ["broker/server.properties", "billing-agg/worker-0/lock", "logs/simulate.log", "ledger.db", "ledger.db-wal"]
    left += ["archive/audit_log/partition=0/date=2025-01-15/manifest.json"]
    for name in [*left, "mine.txt", "mine/file"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    wipe(settings(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine.txt"]


@pytest.mark.parametrize(
    "given",
    [
        {"kafka": KafkaSettings(bootstrap_servers="there:9092")},
        {"ledger_url": "postgresql://there/bills"},
        {"archive": ArchiveSettings(url="s3://there/trail")},
    ],
)
def test_a_fresh_start_is_refused_where_state_is_kept_elsewhere(tmp_path: Path, given: dict[str, object]) -> None:
    (tmp_path / "ledger.db").touch()
    with pytest.raises(Refused):
        wipe(settings(tmp_path, **given))
    assert (tmp_path / "ledger.db").exists()


def test_a_folder_that_is_no_brokers_is_never_wiped(tmp_path: Path) -> None:
    folder = tmp_path / "precious"
    folder.mkdir()
    with pytest.raises(Refused, match="not a broker's data directory"):
        wipe(settings(tmp_path, broker=BrokerSettings(port=0, dir=folder)))
    assert folder.exists()


def test_what_sends_stops_first_and_workers_before_the_ledger(tmp_path: Path) -> None:
    jobs = [*worker_jobs(settings(tmp_path), 6066), simulate_job(settings(tmp_path), 60, None)]
    order = [job.name for job in sorted(jobs, key=lambda job: job.stage)]
    groups = ["billing-agg-1", "billing-agg-2", "billing-ledger", "audit-archive", "dead-letter-monitor"]
    assert order == ["capture", "simulate", *groups]
