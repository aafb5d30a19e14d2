"""Parts of `streamapp run` that need no broker: what is refused, what is wiped, what counts as read."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from rich.console import Console

from streamapp.access.wanted import LAG_MONITOR, RECONCILER, principals
from streamapp.agents.registry import AGENTS
from streamapp.errors import Misconfigured, Refused, Unavailable
from streamapp.kafka.groups import GroupSeen, Seen
from streamapp.local.jobs import (
    SERVICES,
    SIMULATOR,
    Logins,
    chosen_groups,
    fed_topics,
    lively,
    registered_workers,
    service_jobs,
    service_ports,
    simulate_job,
    stage_of,
    worker_jobs,
)
from streamapp.local.kafka import LocalKafka
from streamapp.local.reading import SETTLED_S, Drained, Standing, behind_text, judged, progress_text, readings
from streamapp.local.stack import Stack
from streamapp.local.state import FOLDERS, wipe
from streamapp.settings import ArchiveSettings, BrokerSettings, CaptureSettings, KafkaSettings, Settings
from streamapp.simulate.topics import STREAMS
from streamapp.topics.registry import GROUPS, PAGES, SCHEMA_REGISTRY, group, topic
from streamapp.verify.pairs import NAMES, PAIRS, kept_by
from streamapp.watch.lag import watched


def settings(state_dir: Path, **given: object) -> Settings:
    return Settings.model_validate({"broker": BrokerSettings(port=0), "state_dir": state_dir, **given})


def stack(configured: Settings) -> Stack:
    return Stack(configured, chosen_groups(()), Console(quiet=True), threading.Event())


LEDGER = tuple(("billing_events", number) for number in range(topic("billing_events").partitions))
READING = watched([group("billing-ledger")])[0]._replace(markers=1)


def test_how_far_a_group_is_in_a_topic() -> None:
    seen = Seen(
        {READING.group: GroupSeen("Stable", (), {LEDGER[0]: 6})}, dict.fromkeys(LEDGER, 0), dict.fromkeys(LEDGER, 10)
    )
    assert judged(seen, [READING]) == (Standing(READING.group, READING.topic, 3 + 3 * 9, 6, 40),)


@pytest.mark.parametrize("missing", ["starts", "ends", "committed"])
def test_a_group_of_which_kafka_does_not_tell_all_does_not_count_as_read(missing: str) -> None:
    told = {name: {one: 0 for one in LEDGER if name != missing or one[1]} for name in ("starts", "ends")}
    group_seen = GroupSeen("", problem="[Error 15]") if missing == "committed" else GroupSeen("Stable", (), {})
    with pytest.raises(Unavailable, match=r"Kafka (does not tell|tells)"):
        judged(Seen({READING.group: group_seen}, told["starts"], told["ends"]), [READING])


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
    left += [f"{folder}/something/kept" for folder in FOLDERS]
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


def test_what_sends_stops_first_and_each_group_before_those_who_read_what_it_writes(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    services = service_jobs(configured, {service.name: 1 for service in SERVICES})
    simulator = simulate_job(configured, [], 60)
    jobs = [*services, *worker_jobs(configured, 6066, {}), simulator]
    order = [job.name for job in sorted(jobs, key=lambda job: job.stage)]
    assert order[:5] == ["capture", "reconcile", "watch", "registry", "simulate"]
    assert order.index("billing-agg-2") < order.index("billing-ledger") < order.index("dead-letter-monitor")
    assert {stage_of(one.name) for one in GROUPS} == {2, 3, 4}
    assert all(service.stage not in {2, 3, 4} for service in SERVICES)


def test_a_service_runs_here_on_the_port_of_its_settings_or_a_free_one(tmp_path: Path) -> None:
    assert service_ports(settings(tmp_path, capture=CaptureSettings(port=3001)))["capture"] == 3001
    free = service_ports(settings(tmp_path, capture=CaptureSettings(port=0)))
    assert free["capture"] > 0
    job, *_ = service_jobs(settings(tmp_path), free)
    assert ("STREAM_CAPTURE__PORT", str(free["capture"])) in job.environment
    assert job.port == free["capture"]


def test_what_waits_long_elsewhere_is_quick_here_unless_it_is_set(tmp_path: Path) -> None:
    defaults = [("capture.drain_seconds", "1"), ("web.peer_timeout_seconds", "2")]
    configured = settings(tmp_path, capture=CaptureSettings(drain_seconds=30))
    assert lively(configured, defaults) == (("STREAM_WEB__PEER_TIMEOUT_SECONDS", "2"),)


def test_each_group_has_as_many_workers_as_the_registry_says_on_ports_of_their_own(tmp_path: Path) -> None:
    jobs = worker_jobs(settings(tmp_path), 6066, {})
    for name, module, _ in AGENTS:
        mine = [job for job in jobs if module in job.command]
        assert len(mine) == group(name).consumers
        assert {job.name.removesuffix(f"-{number}") for number, job in enumerate(mine, 1)} == {name}
    assert len({job.port for job in jobs}) == len(jobs)


def test_only_some_groups_are_started_and_fed(tmp_path: Path) -> None:
    chosen = chosen_groups(("billing-ledger", "billing-agg"))
    assert chosen == ("billing-agg", "billing-ledger")
    assert fed_topics(chosen) == ("llm_usage",)
    names = {job.name for job in worker_jobs(settings(tmp_path), 6066, {}, registered_workers(chosen))}
    assert names == {"billing-agg-1", "billing-agg-2", "billing-ledger"}
    assert simulate_job(settings(tmp_path), ["llm_usage"], 60).command.count("--topic") == 1
    with pytest.raises(Refused, match="nobody writes what they read"):
        chosen_groups(("dead-letter-monitor",))


def test_only_what_ran_is_verified() -> None:
    assert kept_by(chosen_groups(())) == NAMES
    assert kept_by(chosen_groups(("billing-ledger", "billing-agg"))) == (
        "usage=bills",
        "usage=crossings",
        "bills=ledger",
        "settlements=ledger",
    )
    assert kept_by(chosen_groups(("analytics-ingest",))) == ("events=clickhouse",)
    assert {pair.group for pair in PAIRS} <= {name for name, _, _ in AGENTS}


def test_every_simulated_topic_is_read_by_a_group() -> None:
    read = {name for one in GROUPS for name in one.topics}
    assert {one.topic for one in STREAMS} <= read


def test_whoever_reads_what_another_group_writes_comes_after_it() -> None:
    found = [one.group for one in readings(chosen_groups(()))]
    assert set(found) == {name for name, _, _ in AGENTS}
    assert found.index("billing-agg") < found.index("billing-ledger") < found.index("dead-letter-monitor")


def test_markers_are_those_of_every_partition_that_writes_the_topic() -> None:
    found = {(one.group, one.topic): one.markers for one in watched()}
    writers = [one.name for one in GROUPS if "billing_events" in one.to]
    assert writers[:2] == ["billing-agg", "rpc-billing"]
    ours = sum(topic(read).partitions for name in writers for read in group(name).topics)
    redriver = 1
    assert found["billing-ledger", "billing_events"] == ours + redriver
    assert found["billing-agg", "llm_usage"] == redriver
    everybody = sum(topic(read).partitions for one in GROUPS for read in one.topics if read != "dead_letter")
    assert found["dead-letter-monitor", "dead_letter"] == everybody


def standing(name: str, lag: int, end: int = 100) -> Standing:
    return Standing(name, f"topic of {name}", lag, end - lag, end)


def test_all_is_read_when_nobody_is_behind_and_nothing_has_moved_for_a_while() -> None:
    drained, read = Drained(), (standing("a", 0), standing("b", 0))
    assert not drained.done((standing("a", 1), standing("b", 0)), 0)
    assert not drained.done(read, 1)
    assert not drained.done((read[0], standing("b", 0, end=101)), 1 + SETTLED_S)
    assert not drained.done(read, 2 + SETTLED_S)
    assert drained.done(read, 2 + 2 * SETTLED_S)
    assert drained.still_s(3 + 2 * SETTLED_S) == 1 + SETTLED_S
    assert not drained.done((standing("a", 5), read[1]), 3 + 2 * SETTLED_S)
    assert drained.still_s(3 + 2 * SETTLED_S) == 0


def test_the_progress_line_names_only_those_who_are_farthest_behind() -> None:
    names = [f"group-{letter}" for letter in "abcdefg"]
    assert behind_text([standing(name, 0) for name in names]) == "all 7 groups have read everything"
    late = [standing(name, lag) for lag, name in enumerate(names)]
    assert behind_text(late) == "behind: group-g 6 · group-f 5 · group-e 4 · 3 more"
    text = progress_text([standing(name, 90_000, end=1_234_567) for name in names], [late[0].topic, late[1].topic])
    assert text.startswith("2,469,134 records on 2 topics · behind: ")
    assert len(text) < 120


def test_each_process_of_a_secured_run_is_a_principal_of_its_own_and_no_password_is_told(tmp_path: Path) -> None:
    def login(user: str) -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers="127.0.0.1:1",
            security_protocol="SASL_SSL",
            sasl_username=user,
            sasl_password_file=tmp_path / user,
            ssl_ca_file=tmp_path / "ca.pem",
        )

    logins = Logins(login, PAGES)
    ports = {service.name: 1 for service in SERVICES}
    workers = worker_jobs(Settings(), 6066, ports, logins=logins)
    jobs = [*workers, *service_jobs(Settings(), ports, logins), simulate_job(Settings(), ["llm_usage"], 60, logins)]
    users = {re.sub(r"-\d+$", "", job.name): dict(job.environment).get("STREAM_KAFKA__SASL_USERNAME") for job in jobs}
    groups = {group.name: group.principal for group in GROUPS}
    services = {
        "capture": "insights-capture",
        "reconcile": RECONCILER,
        "watch": LAG_MONITOR,
        "registry": SCHEMA_REGISTRY,
        "clickhouse": None,
        "simulate": SIMULATOR,
    }
    assert users == groups | services
    assert {*groups.values(), "insights-capture", RECONCILER} <= {one.name for one in principals()}
    for job in jobs:
        told = dict(job.environment)
        assert not [name for name in told if name.endswith("PASSWORD")], job.name
        assert ("STREAM_WEB__KAFKA_USERNAME" in told) == (job in workers)
        if "STREAM_KAFKA__SASL_USERNAME" in told:
            assert told["STREAM_KAFKA__SASL_PASSWORD_FILE"] == str(tmp_path / told["STREAM_KAFKA__SASL_USERNAME"])


def test_locks_are_for_a_broker_that_is_started_here(tmp_path: Path) -> None:
    other = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"), state_dir=tmp_path)
    with pytest.raises(Refused, match="unset STREAM_KAFKA__BOOTSTRAP_SERVERS"):
        LocalKafka(other, secure=True)
    assert not LocalKafka(other, secure=False).is_own
    told = LocalKafka(other, secure=False).told("python send.py")
    assert told == "STREAM_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:1 python send.py"
