"""Every setting is printed with its meaning and source; a wrong one is named."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from streamapp.cli.settings import MASK, command, rows
from streamapp.errors import Misconfigured
from streamapp.settings import Settings, current, load


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
    assert found["STREAM_LEDGER_URL"].value == f"postgresql://bills:{MASK}@db/ledger"
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


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_command_prints_every_setting(arguments: list[str]) -> None:
    result = CliRunner().invoke(command, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for row in rows(current()):
        assert row.variable in result.output
    if arguments:
        assert {"variable", "value", "default", "meaning", "source"} == set(json.loads(result.output)[0])
