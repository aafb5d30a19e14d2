"""The archive over a folder and over a real S3 server that checks signatures: the same promises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from real_s3 import S3

from streamapp.errors import Misconfigured, Unavailable
from streamapp.exact.partition.place import Place
from streamapp.schemas.judging.audit_line import audit_line
from streamapp.schemas.values.timestamp import DAY_MS, format_ms
from streamapp.settings import ArchiveSettings
from streamapp.sinks.archive.chain import entry_name, pack_entry, unpack_link, unpack_manifest
from streamapp.sinks.archive.read import Wanted, listed, matching
from streamapp.sinks.archive.sink import ArchiveSink
from streamapp.sinks.archive.store import ArchiveStore, open_archive
from streamapp.sinks.declaration import each
from streamapp.sinks.destination import Sealed
from streamapp.sinks.marks import Extent, Mark
from streamapp.verify.copies.archive_whole import ArchiveReport, verify_archive

TRAIL = "audit_log"
PLACE = Place("audit-archive", TRAIL, 1, "id", 4, {"dead_letter": 1})
BEGIN_MS = 1_736_899_200_000  # 2025-01-15T00:00:00Z

T = TypeVar("T")
Kept = tuple[Mark, Sealed]


class Rec:
    """A record of the log."""

    key = b"org_hanzo"
    headers = ()

    def __init__(self, offset: int, at_ms: int) -> None:
        self.offset, self.timestamp = offset, at_ms
        envelope = {
            "schema": "hanzo.stream.v1", "id": f"evt_{offset}", "type": "iam.auth.login", "source": "iam",
            "timestamp": format_ms(at_ms), "org_id": f"org_{offset % 3}", "data": {"user_id": "u"},
        }  # fmt: skip
        self.value = json.dumps(envelope).encode()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    server = S3(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, unique: Callable[[str], str]) -> ArchiveSettings:
    if request.param == "folder":
        return ArchiveSettings(url=(tmp_path / "archive").as_uri())
    server: S3 = request.getfixturevalue("s3")
    return server.settings(url=f"s3://archive/{unique('trail')}")


@pytest.fixture
def store(settings: ArchiveSettings) -> ArchiveStore:
    return open_archive(settings, settings.url or "")


@pytest.fixture
def root(settings: ArchiveSettings, request: pytest.FixtureRequest) -> Path:
    """The archive as files."""
    url = settings.url or ""
    if url.startswith("file:"):
        return Path(url.removeprefix("file://"))
    server: S3 = request.getfixturevalue("s3")
    return server.bucket / url.rpartition("/")[2]


def files(root: Path, pattern: str = "*.*") -> dict[Path, bytes]:
    """What the archive is, byte for byte."""
    return {path: path.read_bytes() for path in root.rglob(pattern) if path.is_file()}


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


read = each(audit_line)


async def batch(sink: ArchiveSink, first: int, last: int, state: bytes = b"", at_ms: int = BEGIN_MS) -> Kept:
    rows, refusals = read(PLACE, [Rec(offset, at_ms + offset * 1000) for offset in range(first, last + 1)])
    assert refusals == []
    extent = Extent(first, last, len(rows))
    sealed = sink.seal(PLACE, extent, rows, state)
    await sink.write(PLACE, extent, sealed)
    return Mark(extent, sealed.state), sealed


async def three(store: ArchiveStore) -> list[Mark]:
    """Three objects of two days, 30 records."""
    sink, marks, state = ArchiveSink(store, PLACE, 3), [], b""
    for first, at_ms in ((0, BEGIN_MS), (10, BEGIN_MS), (20, BEGIN_MS + DAY_MS)):
        mark, _ = await batch(sink, first, first + 9, state, at_ms)
        state = mark.state
        marks.append(mark)
    return marks


def check(store: ArchiveStore) -> ArchiveReport:
    return run(verify_archive(store, TRAIL))


def faults(report: ArchiveReport) -> dict[str, int]:
    return {name: found.count for name, found in report.faults() if found.count}


def test_a_name_is_written_once_and_again_only_with_the_same_bytes(store: ArchiveStore) -> None:
    async def scene() -> None:
        await store.create("a/b", b"x")
        await store.create("a/b", b"x")
        with pytest.raises(Misconfigured, match="is there with other bytes"):
            await store.create("a/b", b"y")
        assert await store.get("a/b") == b"x"
        assert await store.get("a/c") is None
        await store.replace("a/b", b"z")
        assert await store.get("a/b") == b"z"
        assert [name async for name in store.names("a/")] == [("a/b", 1)]
        assert [name async for name in store.names("nothing/")] == []

    run(scene())


def test_what_was_kept_is_read_back_by_time_and_org(store: ArchiveStore) -> None:
    async def scene() -> list[int]:
        await three(store)
        wanted = Wanted(since_ms=BEGIN_MS + 5_000, until_ms=BEGIN_MS + 15_000, org="org_1")
        rows = await listed(store, TRAIL, wanted)
        assert [row.name.rpartition("/")[2][:20] for row in rows] == ["0" * 20, "0" * 18 + "10"]
        return [json.loads(line)["offset"] async for line in matching(store, rows, wanted)]

    assert run(scene()) == [7, 10, 13]
    report = check(store)
    assert (report.ok, report.objects, report.records, report.behind, report.strays) == (True, 3, 30, [], [])


def test_the_same_batch_twice_is_there_once(store: ArchiveStore, root: Path) -> None:
    async def scene() -> None:
        first, _ = await batch(ArchiveSink(store, PLACE, 3), 0, 9)
        before = files(root)
        other = ArchiveSink(store, PLACE, 3)
        assert await other.holds(PLACE, first)
        again, _ = await batch(other, 0, 9)
        assert again == first
        assert files(root) == before

    run(scene())


@pytest.mark.parametrize("gone", ["*.json", "manifest.json", "0*.json"])
def test_the_next_owner_makes_what_is_missing_beside_a_promised_object(
    store: ArchiveStore, root: Path, gone: str
) -> None:
    async def scene() -> None:
        marks = await three(store)
        before = files(root, "*.json")
        for path in (root / TRAIL / "partition=1" / "date=2025-01-16").glob(gone):
            path.unlink()
        assert await ArchiveSink(store, PLACE, 9).holds(PLACE, marks[-1]), "whatever the level of compression is now"
        assert files(root, "*.json") == before

    run(scene())
    assert check(store).ok


def test_a_promise_that_was_not_kept_is_not_there(store: ArchiveStore) -> None:
    async def scene() -> None:
        sink = ArchiveSink(store, PLACE, 3)
        rows, _ = read(PLACE, [Rec(0, BEGIN_MS)])
        sealed = sink.seal(PLACE, Extent(0, 0, 1), rows, b"")
        assert not await sink.holds(PLACE, Mark(Extent(0, 0, 1), sealed.state))

    run(scene())


def test_a_new_table_does_not_write_into_an_old_archive(store: ArchiveStore) -> None:
    async def scene() -> None:
        await batch(ArchiveSink(store, PLACE, 3), 0, 9)
        with pytest.raises(Misconfigured, match="records would be there twice"):
            await batch(ArchiveSink(store, PLACE, 3), 0, 4)

    run(scene())


def test_the_manifest_of_a_day_has_its_objects_and_the_chain(store: ArchiveStore) -> None:
    async def scene() -> None:
        marks = await three(store)
        data = await store.get(f"{TRAIL}/partition=1/date=2025-01-15/manifest.json")
        assert data is not None
        manifest = unpack_manifest(data)
        assert (manifest.objects, manifest.records, manifest.first_offset, manifest.last_offset) == (2, 20, 0, 19)
        assert [entry.chain for entry in manifest.entries] == [unpack_link(m.state).chain.hex() for m in marks[:2]]
        assert manifest.entries[1].previous == manifest.entries[0].chain

    run(scene())


def test_a_manifest_of_many_objects_is_written_less_often_and_is_whole_when_the_day_is_over(
    store: ArchiveStore,
) -> None:
    async def scene() -> None:
        sink, state = ArchiveSink(store, PLACE, 3), b""
        for offset in range(70):
            state = (await batch(sink, offset, offset, state))[0].state
        data = await store.get(f"{TRAIL}/partition=1/date=2025-01-15/manifest.json")
        assert data is not None
        assert 66 <= unpack_manifest(data).objects < 70
        after_a_takeover = ArchiveSink(store, PLACE, 3)
        await batch(after_a_takeover, 70, 71, state, BEGIN_MS + DAY_MS)
        data = await store.get(f"{TRAIL}/partition=1/date=2025-01-15/manifest.json")
        assert data is not None
        assert unpack_manifest(data).objects == 70

    run(scene())
    assert check(store).ok


def damaged(root: Path, number: int) -> Path:
    return sorted(root.rglob("*.jsonl.zst"))[number]


def test_a_damaged_archive_is_found_out(store: ArchiveStore, root: Path) -> None:
    run(three(store))
    victim = damaged(root, 1)
    whole, entry = victim.read_bytes(), victim.with_name(victim.name.replace(".jsonl.zst", ".json"))
    told = entry.read_bytes()

    victim.unlink()
    assert faults(check(store)) == {"missing": 1}
    entry.unlink()
    assert faults(check(store)) == {"missing": 1, "edited": 1}, "the chain, and the manifest"
    entry.write_bytes(told)
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "edited" in faults(check(store))
    victim.write_bytes(whole)
    entry.write_bytes(told.replace(b'"count":10', b'"count":11'))
    assert "edited" in faults(check(store))
    entry.unlink()
    assert faults(check(store))["missing"] == 2, "the entry, and the chain is open behind it"
    entry.write_bytes(told)
    copy = victim.with_name(victim.name.replace("19.jsonl", "18.jsonl"))
    copy.write_bytes(whole)
    assert "doubled" in faults(check(store))
    copy.unlink()
    assert check(store).ok
    stray = victim.with_name("notes.txt")
    stray.write_bytes(b"hello")
    assert [name.rpartition("/")[2] for name in check(store).strays] == ["notes.txt"]


def test_a_record_that_was_edited_with_its_digest_breaks_the_chain(store: ArchiveStore, root: Path) -> None:
    run(three(store))
    name = damaged(root, 0).relative_to(root).as_posix()
    report = check(store)
    end = report.tails[1].chain

    async def forge() -> None:
        """An object of other records under the same name, with an entry that fits it."""
        sink = ArchiveSink(store, PLACE, 3)
        rows, _ = read(PLACE, [Rec(offset, BEGIN_MS + offset * 1000 + 1) for offset in range(10)])
        sealed = sink.seal(PLACE, Extent(0, 9, 10), rows, b"")
        for path in (
            root / name,
            root / name.replace(".jsonl.zst", ".json"),
            root / Path(name).parent / "manifest.json",
        ):
            path.unlink()
        await store.create(name, sealed.content.data)
        await store.create(entry_name(name), pack_entry(sealed.content.entry))

    run(forge())
    assert faults(check(store)) == {"missing": 1}, "the next object is tied to another one"
    report = check(store)
    report.expect(1, 29, end)
    assert faults(report) == {"missing": 1}
    report.expect(1, 29, "0" * 64)
    assert faults(report) == {"missing": 2}


def test_wrong_keys_a_missing_bucket_and_a_silent_server_say_what_to_do(s3: S3, tmp_path: Path) -> None:
    async def scene() -> None:
        wrong = s3.settings(secret_access_key="something else")
        with pytest.raises(Misconfigured, match=r"SignatureDoesNotMatch.*STREAM_ARCHIVE__ACCESS_KEY_ID") as raised:
            await open_archive(wrong, wrong.url or "").create("a", b"x")
        assert "something else" not in str(raised.value)
        nowhere = open_archive(s3.settings(), "s3://no-such-bucket/trail")
        for asking in (nowhere.create("a", b"x"), nowhere.get("a")):
            with pytest.raises(Misconfigured, match="there is no such bucket"):
                await asking
        with pytest.raises(Misconfigured, match="there is no such bucket"):
            assert [name async for name in nowhere.names("a/")]
        alone = S3(tmp_path)  # never started
        away = alone.settings(timeout_seconds=0.2)
        with pytest.raises(Unavailable, match="the archive does not answer"):
            await open_archive(away, away.url or "").create("a", b"x")

    run(scene())


@pytest.mark.parametrize(
    ("url", "endpoint", "words"),
    [
        ("ftp://bucket/x", None, "neither s3://bucket/prefix nor file:///folder"),
        ("s3://bucket/x", "http://s3.example.com", "without TLS"),
        ("s3://bucket/x", "s3.example.com", "is not an https:// address"),
        ("file:///proc/nothing/here", None, "STREAM_ARCHIVE__URL=file:///proc/nothing/here"),
    ],
)
def test_an_address_that_cannot_be_is_refused(url: str, endpoint: str | None, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        open_archive(ArchiveSettings(url=url, endpoint=endpoint), url)
