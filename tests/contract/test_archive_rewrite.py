"""A new generation of the archive: readers take it once the list names it, and nothing of before is changed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from test_archive_store import BEGIN_MS, PLACE, TRAIL, Rec, files, run, three

from streamapp.errors import Misconfigured
from streamapp.events.kept import ArchiveObjects
from streamapp.schemas.judging.audit_line import Line, audit_line
from streamapp.schemas.values.timestamp import DAY_MS
from streamapp.settings import ArchiveSettings, Settings
from streamapp.sinks.archive.read import Wanted, generations, listed, matching
from streamapp.sinks.archive.rewrite import ArchiveRewriter
from streamapp.sinks.archive.store import ArchiveStore, open_archive
from streamapp.sinks.rewriter import Difference, Reading
from streamapp.verify.copies.archive_whole import verify_archive

AGAIN = f"{TRAIL}_generation_0002"
LATER = {10: BEGIN_MS, 20: BEGIN_MS + DAY_MS}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def store(root: Path) -> ArchiveStore:
    """An archive with three objects of two days."""
    made = open_archive(ArchiveSettings(), root.as_uri())
    run(three(made))
    return made


def reading(first: int, mark: str = "", refused: tuple[int, ...] = ()) -> Reading:
    """Ten records as today's code reads them; `mark`: how its lines differ from those of before."""
    rows = []
    for offset in range(first, first + 10):
        line = audit_line(TRAIL, PLACE.partition, Rec(offset, LATER.get(first, BEGIN_MS) + offset * 1000))
        assert isinstance(line, Line)
        text = line.text.replace(b'"user_id": "u"', f'"user_id": "{mark}"'.encode()) if mark else line.text
        rows.append(Line(text, line.at_ms, line.record_ms))
    return Reading(PLACE, first, first + 9, rows, refused)


def rewrite(store: ArchiveStore, *readings: Reading, ends: bool = True) -> list[Difference]:
    async def done() -> list[Difference]:
        rewriter, found = ArchiveRewriter(store, TRAIL, 3), []
        await rewriter.begin(BEGIN_MS)
        for each in readings:
            found.append(await rewriter.compared(each))
            await rewriter.write(each, found[-1])
        if ends:
            await rewriter.finish()
        return found

    return asyncio.run(done())


def users(store: ArchiveStore) -> list[str]:
    """What a reader has of the records, in their order."""

    async def read() -> list[Any]:
        return [json.loads(line) async for line in matching(store, await listed(store, TRAIL, Wanted()), Wanted())]

    lines = run(read())
    assert [line["offset"] for line in lines] == list(range(30))
    return [line["event"]["data"]["user_id"] for line in lines]


def test_readers_take_a_generation_when_the_list_names_it(store: ArchiveStore, root: Path) -> None:
    before = files(root)
    found = rewrite(store, reading(0), reading(10, "v"), reading(20, "w", refused=(25,)), ends=False)
    assert [(one.same, one.changed, one.missing) for one in found] == [(10, 0, 0), (0, 10, 0), (0, 9, 0)]
    assert users(store) == ["u"] * 30, "the run was killed"
    rewrite(store, reading(0), reading(10, "v"), reading(20, "w", refused=(25,)))
    assert users(store) == ["u"] * 10 + ["v"] * 10 + ["w"] * 5 + ["u"] + ["w"] * 4
    assert before.items() <= files(root).items(), "nothing of before is changed"
    (generation,) = run(generations(store, TRAIL))
    assert (generation.trail, generation.parts[0].objects, generation.parts[0].records) == (AGAIN, 2, 20)
    report = run(verify_archive(store, TRAIL))
    assert (report.ok, report.behind, report.strays, report.objects) == (True, [], [], 3), report
    assert report.generations[AGAIN].objects == 2


def test_the_page_of_an_event_names_the_object_that_counts(store: ArchiveStore) -> None:
    rewrite(store, reading(10, "v"))
    rewrite(store, reading(0, "v"), reading(10, "w"))
    objects = ArchiveObjects(Settings(archive=ArchiveSettings(url=store.url)))
    folders = {}
    for offset in (5, 15, 25):
        found = run(objects.find((TRAIL, PLACE.partition, offset), LATER.get(offset - 5, BEGIN_MS)))
        assert found is not None
        folders[offset] = found.partition("/")[0]
    third = f"{TRAIL}_generation_0003"
    assert folders == {5: third, 15: third, 25: TRAIL}


def test_the_same_again_makes_no_generation_and_another_reading_makes_one_more(store: ArchiveStore) -> None:
    rewrite(store, reading(10, "v"))
    rewrite(store, reading(10, "v"))
    assert len(run(generations(store, TRAIL))) == 1
    rewrite(store, reading(0, "x"), reading(10, "x"))
    assert users(store) == ["x"] * 20 + ["u"] * 10
    assert run(verify_archive(store, TRAIL)).ok


def test_only_objects_within_the_range_are_made_again(store: ArchiveStore) -> None:
    async def batches(first: int, end: int) -> Any:
        rewriter = ArchiveRewriter(store, TRAIL, 3)
        await rewriter.begin(BEGIN_MS)
        return await rewriter.batches(PLACE, first, end)

    assert run(batches(0, 30)) == [(0, 9), (10, 19), (20, 29)]
    assert run(batches(1, 29)) == [(10, 19)]


def test_a_generation_that_is_damaged_is_found(store: ArchiveStore, root: Path) -> None:
    rewrite(store, reading(10, "v"), reading(20, "v"))
    objects = sorted((root / AGAIN).rglob("*.zst"))
    gone = objects[-1]
    data = gone.read_bytes()
    gone.unlink()
    assert run(verify_archive(store, TRAIL)).missing.count == 1
    gone.with_name(gone.name.replace(".jsonl.zst", ".json")).unlink()
    assert run(verify_archive(store, TRAIL)).missing.count >= 1, "the list knows the end of the chain"
    gone.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert not run(verify_archive(store, TRAIL)).ok


def test_what_another_release_has_begun_is_not_mixed_with_todays(store: ArchiveStore) -> None:
    rewrite(store, reading(0, "v"), reading(10, "v"), ends=False)
    with pytest.raises(Misconfigured, match="is there with other bytes"):
        rewrite(store, reading(0, "w"))
    with pytest.raises(Misconfigured, match="objects of another rewrite"):
        rewrite(store, reading(0, "v"))
    assert users(store) == ["u"] * 30
