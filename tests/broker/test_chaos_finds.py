"""The chaos run is worth what it finds: workers with one bug each make it fail, sound ones do not; and it cleans up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import CACHE_DIR, wait_until
from spilled import Watched, secrets_below, spilled

HERE = Path(__file__).parent
READY_S = 120.0
SEEDS = (
    1,
    2,
    3,
)  # half a minute has few faults: one that meets no open transaction shows nothing, and the next seed is tried


class Plan(NamedTuple):
    """What a bug needs to show itself."""

    faults: tuple[str, ...]
    minutes: float = 0.6


BUGS = {
    "rows stored before the commit": Plan(("kill",)),
    "offset outside the transaction": Plan(("kill",)),
    "dedup off": Plan(("kill",), 0.5),
    "fence off": Plan(("freeze", "kill-wipe"), 0.9),
}


ALONE = "--no-stock"


def chaos(bug: str, plan: Plan, *more: str, **variables: str) -> subprocess.Popen[str]:
    """`streamapp chaos` with a bug planted into its workers."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), str(HERE / "planted")]),
        "PLANTED_BUG": bug,
        "STREAM_CACHE_DIR": str(CACHE_DIR),
        **variables,
    }
    faults = [argument for fault in plan.faults for argument in ("--only", fault)]
    length = ["--minutes", str(plan.minutes), "--events", str(round(20_000 * plan.minutes))]
    command = [sys.executable, "-m", "streamapp", "chaos", "--app", "planted_workers", *faults, *length]
    return subprocess.Popen(
        [*command, *more], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def result(run: subprocess.Popen[str]) -> dict[str, Any]:
    """The report, when the run has ended."""
    out, err = run.communicate(timeout=280)
    assert out, err
    report = json.loads(out)
    assert isinstance(report, dict)
    return report


def found(report: dict[str, Any]) -> bool:
    """Whether it names what is wrong: bills, or a state that no sound worker leaves behind, which the next one refuses.
    A run that only ends early has found nothing."""
    return report["lost"] + report["doubled"] + report["wrong"] > 0 or "was set ahead" in report["refused"]


@pytest.mark.long  # the simulation finds the same bugs in seconds
@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.timeout(600)
def test_a_planted_bug_makes_it_fail(bug: str, tmp_path: Path, cache_dir: Path) -> None:
    for seed in SEEDS:
        run = chaos(bug, BUGS[bug], ALONE, "--json", "--seed", str(seed), "--keep", str(tmp_path / f"run-{seed}"))
        report = result(run)
        if found(report):
            break
    assert run.returncode == 1, report
    assert found(report), report


@pytest.mark.long
def test_sound_workers_pass_and_nobody_reads_a_password(tmp_path: Path, cache_dir: Path) -> None:
    plan, keep = Plan(("kill", "corrupt", "disk-full", "compacted"), 0.8), tmp_path / "run"
    with Watched(lambda: secrets_below(keep / "security")) as watched:
        run = chaos("none", plan, "--json", "--secure", "--keep", str(keep))
        report = result(run)
    assert run.returncode == 0, report
    assert (report["lost"], report["doubled"], report["wrong"]) == (0, 0, 0)
    assert report["bills_out"] > 1000
    assert {done["fault"] for done in report["faults"]} == {
        *("kill -9", "kill -9, files broken", "disk full", "changelog compacted, rows lost")
    }
    stock = report["stock_faust"]
    assert stock["expected"] == report["events_in"], "the counter beside them had the same records to count"
    assert stock["counted"] == stock["expected"] - stock["lost"] + stock["doubled"]
    assert stock["counted"] > 0

    secrets = secrets_below(keep / "security")
    assert len(secrets) == 7, "broker, key store, admin, gateway, workers, the counter beside them, the check"
    assert watched.looks > 10
    assert not watched.places
    private = ("server.properties", *(path.name for path in (keep / "security" / "secrets").iterdir()))
    assert not spilled(secrets, keep, apart_from=private)
    assert not [secret for secret in secrets if secret.decode() in json.dumps(report)]


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_it_cleans_up_when_it_is_interrupted(how: signal.Signals, tmp_path: Path, cache_dir: Path) -> None:
    run = chaos("none", Plan(("kill",), 5), ALONE, TMPDIR=str(tmp_path))
    try:
        wait_until(lambda: list(tmp_path.glob("*/billing-agg/place-*/*/worker-*")), READY_S)
        assert processes(tmp_path)
        run.send_signal(how)
        run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode not in (0, None)
    assert processes(tmp_path) == []
    assert list(tmp_path.glob("streamapp-chaos-*")) == []


def processes(folder: Path) -> list[str]:
    """Command lines of processes that work below a folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if str(folder) in line:
            lines.append(line)
    return lines
