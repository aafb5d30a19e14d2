"""Every setting is printed with its meaning and source; a wrong one is named."""

from __future__ import annotations

import json
from pathlib import Path

import forked
import pytest
from click.testing import CliRunner

from streamapp.cli.project.settings import command
from streamapp.errors import Misconfigured
from streamapp.settings import DELIMITER, PREFIX, Settings, current, load
from streamapp.settings.told import MASK, rows
from streamapp.settings.words import variables


def test_every_setting_has_a_meaning_and_a_name_of_its_own() -> None:
    found = rows(Settings())
    assert [row.variable for row in found if not row.meaning] == []
    assert len({row.variable for row in found}) == len(found)
    assert "STREAM_KAFKA__BOOTSTRAP_SERVERS" in {row.variable for row in found}


def test_a_variable_that_is_set_is_told_from_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_BILLING__GRACE_SECONDS", "60")
    found = {row.variable: row for row in rows(load())}
    grace, idle = found["STREAM_BILLING__GRACE_SECONDS"], found["STREAM_BILLING__IDLE_SECONDS"]
    assert (grace.value, grace.default, grace.source) == ("60", "300", "environment")
    assert idle.source == "default"


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_KAFKA__SASL_PASSWORD", "hush")
    monkeypatch.setenv("STREAM_LEDGER_URL", "postgresql://bills:hush@db/ledger")
    found = {row.variable: row for row in rows(load())}
    assert found["STREAM_KAFKA__SASL_PASSWORD"].value == MASK
    assert found["STREAM_LEDGER_URL"].value == f"postgresql://{MASK}@db/ledger"
    assert "hush" not in str(found)


def test_every_printed_variable_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in rows(Settings()):
        if row.default:
            monkeypatch.setenv(row.variable, row.default)
    assert {row.source for row in rows(load()) if row.default} == {"environment"}
    assert load() == Settings()


def test_each_wrong_setting_is_one_sentence_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_BROKER__PORT", "many")
    monkeypatch.setenv("STREAM_KAFKA__REPLICATION_FACTOR", "0")
    with pytest.raises(Misconfigured) as wrong:
        load()
    assert "STREAM_BROKER__PORT='many'" in str(wrong.value)
    assert "STREAM_KAFKA__REPLICATION_FACTOR='0'" in str(wrong.value)


SLIP = "STREAM_KAFKA_BOOTSTRAP_SERVERS"
SLIP_SAID = f"streamapp: {SLIP} is not a setting: did you mean STREAM_KAFKA__BOOTSTRAP_SERVERS?"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        (SLIP, "STREAM_KAFKA__BOOTSTRAP_SERVERS"),
        ("STREAM_BOOTSTRAP_SERVERS", "STREAM_KAFKA__BOOTSTRAP_SERVERS"),
        ("STREAM_KAFKA__BOOTSTRAP_SERVER", "STREAM_KAFKA__BOOTSTRAP_SERVERS"),
        ("stream_kafka_bootstrap_servers", "STREAM_KAFKA__BOOTSTRAP_SERVERS"),
        ("STREAM_LEDGER", "STREAM_LEDGER_URL"),
        ("STREAM_WEB_PORT", "STREAM_WEB__PORT"),
        ("STREAM__STATE_DIR", "STREAM_STATE_DIR"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_one_that_was_meant(
    variable: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "8000")
    with pytest.raises(Misconfigured) as wrong:
        load()
    assert str(wrong.value) == f"{variable} is not a setting: did you mean {meant}?"


def test_a_misspelt_secret_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_KAFKA__SASL_PASWORD", "hush")
    monkeypatch.setenv("STREAM_QUUX", "hush")
    with pytest.raises(Misconfigured) as wrong:
        load()
    assert str(wrong.value) == (
        "STREAM_KAFKA__SASL_PASWORD is not a setting: did you mean STREAM_KAFKA__SASL_PASSWORD?; "
        "STREAM_QUUX is not a setting: `streamapp settings` lists all"
    )


def test_every_variable_of_a_service_named_like_us_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("STREAM", "STREAM_WEB", "STREAM_KAFKA_BOOTSTRAP"):
        monkeypatch.setenv(f"{service}_SERVICE_HOST", "10.0.0.7")
        monkeypatch.setenv(f"{service}_SERVICE_PORT", "9092")
        monkeypatch.setenv(f"{service}_SERVICE_PORT_HTTP", "9092")
        monkeypatch.setenv(f"{service}_PORT", "tcp://10.0.0.7:9092")
        monkeypatch.setenv(f"{service}_PORT_9092_TCP", "tcp://10.0.0.7:9092")
        for fact in ("PROTO", "PORT", "ADDR"):
            monkeypatch.setenv(f"{service}_PORT_9092_TCP_{fact}", "tcp")
    assert load() == Settings()


def test_secrets_may_be_files_as_kubernetes_mounts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = tmp_path / "..2026"
    now.mkdir()
    given = {"STREAM_LEDGER_URL": "postgresql:///?service=ledger", "STREAM_CLICKHOUSE__PASSWORD": "hush\n"}
    (tmp_path / "..data").symlink_to(now)
    for name, text in given.items():
        (now / name).write_text(text)
        (tmp_path / name).symlink_to(tmp_path / "..data" / name)
    monkeypatch.setenv("STREAM_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("STREAM_CLICKHOUSE__USERNAME", "stream")
    found = load()
    assert found.ledger_url == "postgresql:///?service=ledger"
    assert found.clickhouse.password is not None
    assert (found.clickhouse.username, found.clickhouse.password.get_secret_value()) == ("stream", "hush")
    monkeypatch.setenv("STREAM_LEDGER_URL", "sqlite:///own.db")
    assert load().ledger_url == "sqlite:///own.db"  # the environment comes first
    (tmp_path / "STREAM_LEDGER_URI").touch()
    with pytest.raises(Misconfigured, match="STREAM_LEDGER_URI is not a setting: did you mean STREAM_LEDGER_URL"):
        load()
    monkeypatch.setenv("STREAM_SECRETS_DIR", str(tmp_path / "away"))
    with pytest.raises(Misconfigured, match="away is not a folder"):
        load()


def test_a_section_may_be_given_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_KAFKA", '{"replication_factor": 3}')
    assert load().kafka.replication_factor == 3


def test_the_variables_are_those_that_are_printed() -> None:
    found = variables(Settings, PREFIX, DELIMITER)
    assert [name for name, is_one in found.items() if is_one] == [row.variable for row in rows(Settings())]


@pytest.mark.parametrize(
    "words",
    [
        ["faust", "-A", "streamapp.agents.billing_agg", "worker"],
        ["faust", "-A", "streamapp.agents.analytics_ingest", "worker"],
        ["streamapp", "topics", "plan"],
        ["streamapp", "capture"],
        ["streamapp", "run"],
        ["streamapp", "verify"],
        ["streamapp", "settings"],
    ],
)
def test_every_process_ends_with_78_over_a_misspelt_variable(words: list[str]) -> None:
    ran = forked.ran(*words, environment={SLIP: "kafka.prod:9092"})
    assert (ran.returncode, ran.stdout, ran.stderr.strip()) == (78, "", SLIP_SAID)


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_command_prints_every_setting(arguments: list[str]) -> None:
    result = CliRunner().invoke(command, arguments, env={"COLUMNS": "80"})
    assert result.exit_code == 0
    for row in rows(current()):
        assert row.variable in result.output
    if arguments:
        assert {"variable", "value", "default", "meaning", "source"} == set(json.loads(result.output)[0])
    else:
        assert len(result.output.splitlines()) < 4 * len(rows(current())), "a meaning has the width of the terminal"
