"""The schemas we publish are the golden ones, and no change of them takes anything away from a reader."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from searches import search

from streamapp.cli.project.schemas import command
from streamapp.schemas.catalog import CATALOG, json_schema, json_schemas
from streamapp.schemas.compatibility.rules import NARROWER, WIDER, incompatibilities
from streamapp.schemas.example import example
from streamapp.schemas.fields import CURRENCY_PATTERN
from streamapp.schemas.judging.rejected import Reason
from streamapp.schemas.released import (
    FOLDER,
    ID_MAX,
    Released,
    aliased,
    file_text,
    read,
    released,
    subject_of,
    type_of,
    unreleased,
    write,
)

TYPES = [entry.event_type for entry in CATALOG]

Schema = dict[str, Any]


def sentences(old: Schema, new: Schema) -> list[str]:
    return [str(problem) for problem in incompatibilities(old, new)]


@pytest.mark.parametrize("event_type", TYPES)
def test_a_schema_is_compatible_with_every_released_one(event_type: str) -> None:
    older = [one.schema for one in released() if one.subject == subject_of(event_type)]
    assert older
    for schema in older:
        assert incompatibilities(schema, json_schema(event_type)) == [], "readers of older events would break"


def test_what_the_models_say_is_released() -> None:
    assert unreleased(released()) == {}, "if that change is meant, release it: streamapp schemas release"


def test_a_released_version_has_its_id_and_its_number_alone_and_each_document_one_file() -> None:
    everything = released()
    of_types = {(one.id, file_text(one.schema)) for one in everything if type_of(one.subject)}
    filed = [one for one in everything if type_of(one.subject) or (one.id, file_text(one.schema)) not in of_types]
    assert {f"{path.parent.name} {path.stem}" for path in FOLDER.glob("*/*.json")} == {
        f"{one.subject} {one.version}" for one in filed
    }
    assert len({(one.subject, one.version) for one in everything}) == len(everything)
    assert {one.id for one in everything} == set(range(1, max(one.id for one in everything) + 1))
    assert max(one.id for one in everything) <= ID_MAX
    for subject in {one.subject for one in everything}:
        numbers = [one.version for one in everything if one.subject == subject]
        assert numbers == list(range(1, len(numbers) + 1)), subject
    for one in filed:
        assert file_text(one.schema) == (FOLDER / one.subject / f"{one.version}.json").read_text(encoding="utf-8")


def test_the_next_version_is_released_beside_the_first(tmp_path: Path) -> None:
    made = write(tmp_path, unreleased([]))
    assert {one.subject for one in made} == {one.subject for one in released()}
    assert len({*tmp_path.glob("*/*.json")}) == len({one.id for one in made})
    first = read(tmp_path)
    assert {one.subject for one in first} == {one.subject for one in released()}
    assert unreleased(first) == {}
    assert {one.version for one in first} == {1}
    changed = {**json_schema(TYPES[0]), "title": "another one"}
    write(tmp_path, {subject_of(TYPES[0]): changed})
    newest_one = read(tmp_path)[-1]
    assert (newest_one.version, newest_one.id, newest_one.schema) == (2, max(one.id for one in first) + 1, changed)
    assert list(unreleased(read(tmp_path))) == [subject_of(TYPES[0])]


def test_an_alias_takes_the_events_of_its_topics_types_and_no_other() -> None:
    (alias,) = [one.schema for one in released() if one.subject == aliased("billing_events")]
    validator = Draft202012Validator(alias)
    for event_type in ("billing.usage.hourly", "billing.budget.crossed"):
        own = Draft202012Validator(json_schema(event_type))
        for wrong in ({}, {"type": event_type}, {"type": "llm.usage.completed"}):
            assert not own.is_valid(wrong)
            assert not validator.is_valid(wrong)
    for event_type in ("billing.usage.hourly", "billing.budget.crossed"):
        assert validator.is_valid(example(json_schema(event_type)))


@pytest.mark.parametrize("one", released(), ids=lambda one: f"{one.subject} {one.version}")
def test_an_example_of_a_schema_is_valid_under_it(one: Released) -> None:
    assert [error.message for error in Draft202012Validator(one.schema).iter_errors(example(one.schema))] == []


def test_a_type_is_in_the_catalog_once_and_its_model_takes_no_other() -> None:
    assert len(set(TYPES)) == len(TYPES)
    for entry in CATALOG:
        schema = json_schema(entry.event_type)
        kind = schema["properties"]["type"]
        if entry.family:
            assert re.search(kind["pattern"], entry.event_type) is None, "the name of a family is no type"
        else:
            assert kind["const"] == entry.event_type
        assert schema["properties"]["schema"]["const"] == "hanzo.stream.v1"


def test_every_reason_is_published() -> None:
    schema = json_schema("stream.event.rejected")
    published = next(one["enum"] for one in schema["$defs"].values() if "enum" in one)
    assert sorted(published) == sorted(str(reason) for reason in Reason)


def test_an_unknown_type_has_no_schema() -> None:
    with pytest.raises(KeyError):
        json_schema("llm.usage.unknown")


def _data(schema: Schema) -> Schema:
    data: Schema = schema["$defs"]["LlmUsageData"]
    return data


def _add(field: str, child: Schema, *, required: bool = False) -> Callable[[Schema], None]:
    def change(schema: Schema) -> None:
        _data(schema)["properties"][field] = child
        if required:
            _data(schema)["required"].append(field)

    return change


def _remove(field: str) -> Callable[[Schema], None]:
    def change(schema: Schema) -> None:
        del _data(schema)["properties"][field]
        _data(schema)["required"] = [name for name in _data(schema)["required"] if name != field]

    return change


def _set(field: str, **changed: object) -> Callable[[Schema], None]:
    return lambda schema: _data(schema)["properties"][field].update(changed)


def _require(field: str) -> Callable[[Schema], None]:
    def change(schema: Schema) -> None:
        _data(schema)["required"].append(field)
        _data(schema)["properties"][field].pop("default")

    return change


def _any(field: str) -> Callable[[Schema], None]:
    def change(schema: Schema) -> None:
        _data(schema)["properties"][field] = {"default": None}

    return change


def _rename_definition(schema: Schema) -> None:
    schema["$defs"]["Renamed"] = schema["$defs"].pop("LlmUsageData")
    schema["properties"]["data"]["$ref"] = "#/$defs/Renamed"


def _rename_field(schema: Schema) -> None:
    child = _data(schema)["properties"]["model"]
    _remove("model")(schema)
    _add("model_name", child, required=True)(schema)


@pytest.mark.parametrize(
    "change",
    [
        lambda schema: None,
        _add("region", {"type": "string", "default": ""}),
        _add("region", {"type": "string"}),
        _add("region", {"type": "string", "default": "eu"}, required=True),
        _add("trace", {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}),
        _set("model", maxLength=512),
        _set("model", description="deprecated", deprecated=True),
        _any("user_id"),
        _rename_definition,
    ],
)
def test_what_may_change(change: Callable[[Schema], None]) -> None:
    old = json_schema("llm.usage.completed")
    new = copy.deepcopy(old)
    change(new)
    assert incompatibilities(old, new) == []


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (_add("region", {"type": "string"}, required=True), ["data.region was added as required; give it a default"]),
        (_remove("user_id"), ["data.user_id was removed or renamed; mark it as deprecated instead"]),
        (
            _rename_field,
            [
                "data.model was removed or renamed; mark it as deprecated instead",
                "data.model_name was added as required; give it a default",
            ],
        ),
        (_set("prompt_tokens", type="number"), ["data.prompt_tokens changed its type from integer to number"]),
        (_set("model", type=["string", "null"]), ["data.model changed its type from string to null or string"]),
        (_require("user_id"), ["data.user_id became required"]),
        (lambda schema: _data(schema)["properties"]["currency"].pop("default"), ["data.currency lost its default"]),
        (_set("model", maxLength=64), ["data.model has a narrower maxLength: 64, was 256"]),
        (_set("model", minLength=2), ["data.model has a narrower minLength: 2, was 1"]),
        (_set("model", pattern="^[a-z]+$"), ["data.model got a pattern"]),
        (_set("model", enum=["zen-72b"]), ["data.model now allows only a closed list of values"]),
        (lambda schema: schema["required"].append("org_id"), ["org_id became required"]),
    ],
)
def test_what_may_not_change(change: Callable[[Schema], None], problems: list[str]) -> None:
    old = json_schema("llm.usage.completed")
    new = copy.deepcopy(old)
    change(new)
    if "org_id" in new["required"]:
        del new["properties"]["org_id"]["default"]
    assert sentences(old, new) == problems


def test_a_closed_list_may_grow_and_may_become_any_text_that_is_long_enough() -> None:
    old = json_schema("agent.rpc.metered")
    grown, fewer, text, short = (copy.deepcopy(old) for _ in range(4))
    grown["$defs"]["CallStatus"]["enum"].append("timeout")
    fewer["$defs"]["CallStatus"]["enum"].remove("error")
    text["$defs"]["CallStatus"] = {"type": "string", "maxLength": 7}
    short["$defs"]["CallStatus"] = {"type": "string", "maxLength": 6}
    assert incompatibilities(old, grown) == incompatibilities(old, text) == []
    assert sentences(old, fewer) == ["data.status no longer allows 'error'"]
    assert sentences(old, short) == ["data.status has a narrower maxLength: 6, was none"]


@pytest.mark.parametrize("pair", sorted(WIDER))
@given(st.data())
@search(200)
def test_a_pattern_that_replaces_another_takes_all_that_it_took(pair: tuple[str, str], data: st.DataObject) -> None:
    old, new = pair
    text = data.draw(st.from_regex(re.compile(old.replace("$", r"\Z"), re.ASCII)))
    assert re.search(new.replace("$", r"\Z"), text, re.ASCII) is not None


def test_the_one_narrower_pattern_is_that_of_decision_15_and_only_in_its_field() -> None:
    ((path, old, new),) = NARROWER
    assert (path, new) == ("data.currency", CURRENCY_PATTERN)
    assert re.search(old, "1INCH")
    assert re.search(new, "1INCH") is None

    def schema(name: str, pattern: str) -> Schema:
        data = {"type": "object", "properties": {name: {"type": "string", "pattern": pattern}}}
        return {"type": "object", "properties": {"data": data}}

    assert incompatibilities(schema("currency", old), schema("currency", new)) == []
    assert sentences(schema("method", old), schema("method", new)) == ["data.method changed its pattern"]


def test_fields_of_lists_are_compared() -> None:
    old = json_schema("billing.usage.hourly")
    new = copy.deepcopy(old)
    del new["$defs"]["Line"]["properties"]["provider"]
    expected = ["data.lines[].provider was removed or renamed; mark it as deprecated instead"]
    assert sentences(old, new) == expected


def test_export_list_and_check(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert json.loads(run(command, ["export"]).stdout) == json_schemas()
    assert [line.split()[0] for line in run(command, ["list"]).stdout.splitlines()] == TYPES
    assert run(command, ["export", "--dir", str(tmp_path / "new")]).exit_code == 0
    for event_type in TYPES:
        assert json.loads((tmp_path / "new" / f"{event_type}.json").read_bytes()) == json_schema(event_type)
    assert run(command, ["check", "--against", str(tmp_path / "new")]).exit_code == 0
    assert run(command, ["check"]).stdout.endswith(" released versions, all compatible (BACKWARD)\n")
    assert run(command, ["release"]).stdout.startswith("nothing has changed")


def test_check_reports_every_problem_and_exits_1(tmp_path: Path) -> None:
    older = json_schema("llm.usage.completed")
    _data(older)["properties"] |= {"gone": {"type": "string"}, "also_gone": {"type": "string"}}
    (tmp_path / "llm.usage.completed.json").write_text(json.dumps(older))
    (tmp_path / "llm.usage.started.json").write_text("{}")
    result = CliRunner().invoke(command, ["check", "--no-rehearse", "--against", str(tmp_path)])
    place = "(at /$defs/LlmUsageData/properties)"
    assert (result.exit_code, result.stdout.splitlines()) == (
        1,
        [
            f"llm.usage.completed: data.also_gone was removed or renamed; mark it as deprecated instead {place}",
            f"llm.usage.completed: data.gone was removed or renamed; mark it as deprecated instead {place}",
            "llm.usage.started: the type was removed or renamed",
        ],
    )
