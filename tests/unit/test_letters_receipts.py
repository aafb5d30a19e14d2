"""A file of receipts has a line for each record that its runs sent, whenever one of them was killed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from streamapp.dead_letters.done import Done, Receipt
from streamapp.dead_letters.receipts import receipts_to
from streamapp.errors import Refused


def receipt(number: int, run: str) -> Receipt:
    return Receipt(f"evt_{number}", "redriven", 1_000 + number, None, ("llm_usage", 3, number), 1, ("value",), run=run)


def done(*receipts: Receipt) -> Done:
    made = Done()
    for one in receipts:
        made.add(one)
    return made


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def letters(path: Path) -> list[str]:
    return [line["letter"] for line in lines(path) if "letter" in line]


def test_a_run_is_named_and_each_of_its_records_has_a_line(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    with receipts_to(path, io.BytesIO(), "run_a") as receipts:
        receipts.begin(0, done())
        receipts.write([receipt(1, "run_a")])
    assert lines(path) == [
        {"run": "run_a", "began_at": "1970-01-01T00:00:00.000Z"},
        {"letter": "evt_1", "topic": "llm_usage", "partition": 3, "offset": 1, "attempt": 1, "changed": ["value"]},
    ]


@pytest.mark.parametrize("cut", [0, 1, 30, 200])
def test_the_next_run_adds_what_a_killed_one_did_not_write(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "sent.jsonl"
    with receipts_to(path, io.BytesIO(), "run_a") as receipts:
        receipts.begin(0, done())
        receipts.write([receipt(1, "run_a"), receipt(2, "run_a")])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - cut])
    there = done(*(receipt(number, "run_a") for number in (3, 2, 1)), receipt(4, "run_of_others"), receipt(5, ""))
    with receipts_to(path, io.BytesIO(), "run_b") as receipts:
        receipts.begin(0, there)
        receipts.write([receipt(6, "run_b")])
    assert letters(path) == ["evt_1", "evt_2", "evt_3", "evt_6"]
    assert [line["run"] for line in lines(path) if "run" in line] == ["run_a", "run_b"]
    with receipts_to(path, io.BytesIO(), "run_c") as receipts:
        assert receipts.complete(there) == 0


def test_what_was_dropped_or_was_sent_long_ago_has_no_line(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    path.write_text('{"letter": "evt_1"}\n{"run": "run_a"}\n')
    with receipts_to(path, io.BytesIO(), "run_b") as receipts:
        assert receipts.complete(done(Receipt("evt_9", "dropped", 1, run="run_a"))) == 0


def test_standard_output_and_devices_get_only_what_is_new() -> None:
    for path, heard in (Path("-"), ["evt_1"]), (Path("/dev/null"), []), (None, []):
        out = io.BytesIO()
        with receipts_to(path, out, "run_a") as receipts:
            receipts.begin(0, done(receipt(7, "run_a")))
            receipts.write([receipt(1, "run_a")])
        assert [json.loads(line)["letter"] for line in out.getvalue().splitlines()] == heard


def test_one_run_at_a_time_writes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    second = receipts_to(path, io.BytesIO(), "run_b")
    with receipts_to(path, io.BytesIO(), "run_a"), pytest.raises(Refused, match="another run"), second:
        pass
    with receipts_to(path, io.BytesIO(), "run_b"):
        pass


@pytest.mark.parametrize("text", ["some notes\n", "without end", "5\n", '{"letter": "evt_1"}\n{}\n'])
def test_another_file_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(Refused, match="is no receipt"), receipts_to(path, io.BytesIO(), "run_a"):
        pass
    assert path.read_text() == text
