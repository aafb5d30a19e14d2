"""Records of `_schemas`, and what they make of the repository's versions."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.registry.records import (
    Change,
    Gone,
    Highest,
    Level,
    Mode,
    SubjectDeleted,
    Version,
    guid,
    read,
    written,
)
from streamapp.registry.state import State, beginning
from streamapp.schemas.released import ID_MAX, released

FIRST = ID_MAX + 1
# As Confluent's registry writes them.
GOLDEN: tuple[tuple[bytes, bytes | None, Change], ...] = (
    (
        b'{"keytype":"SCHEMA","subject":"a-value","version":1,"magic":1}',
        b'{"subject":"a-value","version":1,"id":7,"guid":"%s","schemaType":"JSON","schema":"{}","deleted":false}'
        % guid("{}").encode(),
        Version("a-value", 1, 7, "{}"),
    ),
    (b'{"keytype":"SCHEMA","subject":"a-value","version":1,"magic":1}', None, Gone("a-value", 1)),
    (
        b'{"keytype":"DELETE_SUBJECT","subject":"a-value","magic":0}',
        b'{"subject":"a-value","version":3}',
        SubjectDeleted("a-value", 3),
    ),
    (b'{"keytype":"CONFIG","subject":null,"magic":0}', b'{"compatibilityLevel":"FULL"}', Level(None, "FULL")),
    (b'{"keytype":"CONFIG","subject":"a","magic":0}', None, Level("a", None)),
    (b'{"keytype":"MODE","subject":"a","magic":0}', b'{"mode":"READONLY"}', Mode("a", "READONLY")),
)


@pytest.mark.parametrize(("key", "value", "change"), GOLDEN)
def test_a_record_is_read_and_written_in_confluents_form(key: bytes, value: bytes | None, change: Change) -> None:
    assert read(key, value) == change
    assert written(change) == (key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"x", None),
        (b"[]", b"{}"),
        (b'{"keytype":"SCHEMA"}', b"{}"),
        (b'{"keytype":"NOOP","magic":0}', None),
        (b'{"keytype":"CLEAR_SUBJECT","subject":"a","magic":0}', b'{"subject":"a"}'),
    ],
)
def test_what_is_not_known_is_left_alone(key: bytes | None, value: bytes | None) -> None:
    assert read(key, value) is None


def test_an_avro_schema_of_another_registry_keeps_its_id() -> None:
    state = beginning()
    key = b'{"keytype":"SCHEMA","subject":"a","version":1,"magic":1}'
    state.apply(read(key, b'{"subject":"a","version":1,"id":20000,"schema":"\\"string\\"","deleted":false}'))
    assert (state.highest, state.subjects()) == (20_000, beginning().subjects())


def test_the_repositorys_subjects_are_as_the_repository_says() -> None:
    state, one = beginning(), released()[0]
    for change in (
        Version(one.subject, 99, FIRST, "{}"),
        Gone(one.subject, 1),
        SubjectDeleted(one.subject, 99),
        Level(one.subject, "NONE"),
    ):
        state.apply(change)
    known = [each.version for each in released() if each.subject == one.subject]
    assert [each.version for each in state.of(one.subject)] == known
    assert state.level(one.subject) == "BACKWARD"
    assert len(state.unmirrored()) == len(released())
    state.apply(Version(one.subject, 1, one.id, "{}"))
    assert len(state.unmirrored()) == len(released()) - 1


def test_a_schema_is_found_by_what_it_says_and_not_by_its_spaces() -> None:
    state = beginning()
    state.apply(Version("a", 1, FIRST, '{"type":"object","title":"x"}'))
    found = state.find("a", '{ "title": "x", "type": "object" }')
    assert found is not None
    assert (found.id, state.id_of('{"title":"x","type":"object"}')) == (FIRST, FIRST)
    assert state.find("a", "{}") is None


def test_a_foreign_record_takes_no_id_of_the_repository() -> None:
    state, one = beginning(), released()[0]
    theirs = state.schemas[one.id]
    for change in (Version("a", 1, one.id, "{}"), Version("b", 1, ID_MAX, "{}"), Version("c", 1, one.id, "no JSON")):
        state.apply(change)
    assert (state.schemas[one.id], state.subjects(), state.id_of("{}")) == (theirs, beginning().subjects(), None)
    state.apply(Version("d", 1, one.id, theirs))
    assert [each.id for each in state.of("d")] == [one.id], "a foreign subject may have the repository's schema"


def test_nobody_may_write_while_everybody_is_read_only_by_override() -> None:
    state = beginning()
    state.apply(Mode("a", "READWRITE"))
    state.apply(Mode(None, "READONLY"))
    assert (state.mode("a"), state.mode("b"), state.mode("")) == ("READWRITE", "READONLY", "READONLY")
    state.apply(Mode(None, "READONLY_OVERRIDE"))
    assert state.mode("a") == "READONLY_OVERRIDE"


CHANGES = st.lists(
    st.one_of(
        st.builds(Version, st.sampled_from("ab"), st.integers(1, 4), st.integers(FIRST, FIRST + 9), st.just("{}")),
        st.builds(Gone, st.sampled_from("ab"), st.integers(1, 4)),
        st.builds(SubjectDeleted, st.sampled_from("ab"), st.integers(1, 4)),
        st.builds(Highest, st.integers(FIRST, FIRST + 20)),
    ),
    max_size=12,
)


@given(CHANGES)
def test_no_id_is_given_twice_and_a_record_twice_changes_nothing(changes: list[Change]) -> None:
    once, twice = beginning(()), State(highest=ID_MAX)
    given_out = {ID_MAX}
    for change in changes:
        once.apply(change)
        for _ in range(2):
            twice.apply(read(*written(change)))
        if isinstance(change, Version | Highest):
            given_out.add(change.id)
        assert once.highest == max(given_out)
        assert (once.versions, once.schemas, once.highest) == (twice.versions, twice.schemas, twice.highest)
        for one in once.all(deleted=True):
            assert json.loads(once.schemas[one.id]) == {}
