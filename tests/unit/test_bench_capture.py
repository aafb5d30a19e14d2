"""The benchmark of the front capture: the same requests for ever, answers cut right, a report of the promised shape."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # `bench` is not part of what is installed

from bench.capture.bodies import BATCH, EVENTS, PATHS, REQUESTS, SINGLE, directory, requests, team
from bench.capture.figures import Figures, Load, problems_of, report
from bench.capture.fronts import FRONTS, fronts
from bench.capture.load import Load as Sender
from bench.capture.load import whole
from streamapp.directory.teams import FileDirectory

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"status": 1}'


@pytest.mark.parametrize("kind", EVENTS)
def test_requests_are_the_same_for_ever_and_every_event_has_a_uuid(kind: str, tmp_path: Path) -> None:
    made = requests(kind, "127.0.0.1:3000")
    assert made == requests(kind, "127.0.0.1:3000")
    assert len(made) == REQUESTS[kind]
    (tmp_path / "teams.toml").write_text(directory())
    teams, seen = FileDirectory(tmp_path / "teams.toml"), []
    for request in made:
        head, _, content = request.partition(b"\r\n\r\n")
        assert head.startswith(f"POST {PATHS[kind]} HTTP/1.1\r\n".encode())
        assert f"Content-Length: {len(content)}".encode() in head
        body = json.loads(content)
        assert teams.team_of(body["api_key"]) is not None
        events = body.get("batch", [body])
        assert len(events) == EVENTS[kind]
        seen += [event["uuid"] for event in events]
    assert len(set(seen)) == len(seen) == REQUESTS[kind] * EVENTS[kind]


def test_the_bytes_do_not_change() -> None:
    digests = [sha256(b"".join(requests(kind, "h")[:20])).hexdigest()[:16] for kind in (SINGLE, BATCH)]
    assert digests == ["598d4603cdc60a92", "06a160b121f11795"]


def test_few_teams_send_most() -> None:
    keys = Counter(json.loads(request.partition(b"\r\n\r\n")[2])["api_key"] for request in requests(SINGLE, "h"))
    assert keys.most_common(1)[0][1] > REQUESTS[SINGLE] / 5
    assert len(keys) > 20
    assert team(7) == "team_007"


@pytest.mark.parametrize(
    ("held", "length"),
    [
        (b"", None),
        (ANSWER[:20], None),
        (ANSWER[:-1], None),
        (ANSWER, len(ANSWER)),
        (ANSWER + b"HTTP", len(ANSWER)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 27),
    ],
)
def test_an_answer_ends_where_its_head_says(held: bytes, length: int | None) -> None:
    assert whole(held) == length


@pytest.mark.parametrize("rate", [0.0, 200.0])
def test_the_load_counts_every_answer_once(rate: float) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            asked.append(head)
            number = len(asked)
            status = b"503 No" if number % 10 == 0 else b"200 OK"
            whole_answer = b"HTTP/1.1 " + status + ANSWER[15:]
            writer.write(whole_answer[:30])  # in two pieces, as it may come
            await writer.drain()
            writer.write(whole_answer[30:])
        writer.close()

    async def run() -> dict[str, int]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            seen = await Sender([b"one\n"], 0.2, rate).run(port, 4)
        assert 0 < seen.p50_ms <= seen.p99_ms <= seen.max_ms
        assert seen.seconds > 0
        return seen.statuses

    statuses = asyncio.run(run())
    assert sum(statuses.values()) == len(asked)
    assert statuses["503"] == len(asked) // 10
    if rate:
        assert len(asked) <= 0.2 * rate + 1  # no more than were due, however fast the answers are


def test_what_is_wrong_with_a_load() -> None:
    assert problems_of({"200": 3}, 100, 300) == ()
    assert problems_of({"200": 3}, 100, 299) == ("300 events were answered 200, the topic grew by 299",)
    assert problems_of({"200": 3}, 100, 301) == ("300 events were answered 200, the topic grew by 301",)
    assert problems_of({"200": 3, "503": 2}, 1, 5) == ("2 answers were 503",)  # unknown is not wrong
    assert problems_of({"200": 3, "503": 2}, 1, 2)[1] == "3 events were answered 200, the topic grew by 2"
    assert problems_of({"lost": 1}, 1, 0) == ("1 answers were lost", "nothing was answered 200")


def load(cpu_us: float, p99_ms: float = 9.0, problems: tuple[str, ...] = ()) -> Load:
    return Load(100, 1_000, 2.0, cpu_us, 500.0, 1 << 20, 5.0, p99_ms, problems)


def test_the_ratio_is_of_each_rounds_own_cost() -> None:
    ours = [Figures("capture", SINGLE, n, load(cpu), load(cpu)) for n, cpu in enumerate((2_000, 30_000, 4_200), 1)]
    bare = [Figures("reference", SINGLE, n, load(cpu), load(cpu)) for n, cpu in enumerate((1_000, 25_000, 3_000), 1)]
    rows = report([*ours, *bare], "reference")
    assert json.loads(json.dumps(rows)) == rows
    assert [(row["name"], row["kind"], row["ratio"]) for row in rows] == [
        ("capture", SINGLE, 1.4),  # of 2.0, 1.2 and 1.4
        ("reference", SINGLE, 1.0),
    ]
    assert (rows[0]["events_per_s"], rows[0]["cpu_us_per_event"], rows[0]["rounds"]) == (500, 4.2, 3)
    assert rows[0]["correct"]
    assert report(ours, "reference")[0]["ratio"] is None


def test_a_front_is_correct_when_it_was_in_every_load() -> None:
    (row,) = report([Figures("capture", BATCH, 1, load(1), load(1, problems=("lost",)))], "reference")
    assert (row["correct"], row["problems"]) == (False, ["lost"])


def test_fronts_are_found_by_name() -> None:
    assert fronts("") == FRONTS
    assert [front.name for front in fronts("reference")] == ["reference"]
    with pytest.raises(ValueError, match="nobody: no such front"):
        fronts("nobody")
