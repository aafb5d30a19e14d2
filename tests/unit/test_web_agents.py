"""The pages of metered calls over HTTP, over real tables: list, meter, settlement, JSON twins, a silent worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from rpc_log import Calls, call
from test_web_pages import Reader, pair
from web_fake import FakeWorker, Served, World, serving

from streamapp.facts.worker import AccountFacts, AgentFacts
from streamapp.meters.calls import rpc_codec
from streamapp.meters.calls.accounts_view import AccountsView
from streamapp.web import show

ODD = '<b>"x"</b>/é?'


class CallsWorker(FakeWorker):
    """A worker whose accounts are those of a real table."""

    group, topic = "rpc-billing", "agent_rpc_metering"

    def __init__(self, table: Calls, name: str = "rpc-0", **more: Any) -> None:
        super().__init__(World(empty=True), name, **more)
        self.table = table
        self.view = AccountsView(table.task, 1000)
        asyncio.run(self.view.load(0))
        table.task.landed = self.view.landed

    def accounts(self) -> list[AccountFacts]:
        return list(self.view.accounts())

    def agent(self, org: str, agent: str) -> list[AgentFacts]:
        return self.view.agent(org, agent)

    def settlement(self, settlement_id: str) -> list[bytes]:
        value = self.table.store.get(rpc_codec.settlement_key(settlement_id))
        return [] if value is None else [value]


def visit(check: Callable[[Reader, list[Served]], Awaitable[None]], *views: FakeWorker) -> None:
    async def run() -> None:
        async with serving(*views, peer_timeout_s=10) as served, aiohttp.ClientSession() as session:
            await check(Reader(session, served[0].url), served)

    asyncio.run(run())


@pytest.fixture
def table() -> Calls:
    table = Calls()
    table.apply(
        *(call("10:10", method="chat.send", price="0.25") for _ in range(4)),
        call("10:20", method="memory.search", price="0.01", consumer="consumer_d"),
        call("10:30", agent=ODD, org="..", price="3", currency="USDC"),
    )
    table.apply(call("11:10", method="chat.send", price="0.5"), call("11:20", free_tier=True, consumer="consumer_d"))
    return table


def test_the_list_adds_accounts_up_by_agent(table: Calls) -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        twin = await reader.json("/agents")
        rows = [(row["org"], row["agent"], row["consumers"], row["calls"]) for row in twin["agents"]]
        assert rows == [("..", ODD, 1, 1), ("org_a", "agent_a", 2, 7)]
        first = twin["agents"][1]
        assert (first["open"], first["pending"], first["settled"]) == (
            "0.500000000000",
            "0.010000000000",
            "1.000000000000",
        )
        assert twin["matching"] == 2
        assert [row["agent"] for row in (await reader.json("/agents?sort=settled"))["agents"]] == [ODD, "agent_a"]
        assert [row["agent"] for row in (await reader.json("/agents?sort=open"))["agents"]] == ["agent_a", ODD]
        assert [row["agent"] for row in (await reader.json("/agents?agent=AGENT"))["agents"]] == ["agent_a"]
        one = await reader.json("/agents?limit=1")
        assert [row["agent"] for row in one["agents"]] == [ODD]
        assert [row["agent"] for row in (await reader.json(one["next"]))["agents"]] == ["agent_a"]
        status, text, _ = await reader.get("/agents")
        assert (status, "agent_a" in text, ODD in text) == (200, True, False)
        assert (await reader.get("/agents?sort=colour"))[0] == 400
        assert (await reader.get("/agents?after=x"))[0] == 400

    visit(check, CallsWorker(table))


def test_the_meter_is_the_usage_report_and_grows(table: Calls) -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        (report,) = (await reader.json("/agents/org_a/agent_a"))["currencies"]
        assert report["methods"] == {
            "chat.send": {"count": 6, "cost": "1.500000000000"},
            "memory.search": {"count": 1, "cost": "0.010000000000"},
        }
        assert (report["total"], report["request_count"]) == ("1.510000000000", 7)
        assert (report["closes_at"], report["min_amount"]) == ("2025-01-15T12:05:00.000Z", "0.100000000000")
        owes = {one["consumer"]: (one["open_amount"], one["pending_amount"]) for one in report["consumers"]}
        assert owes["consumer_d"] == ("0.000000000000", "0.010000000000")
        table.apply(call("11:30", price="7"))
        assert table.task.memory.open
        worker = served[0].view
        assert isinstance(worker, CallsWorker)
        assert sum(one.open_amount for one in worker.accounts()) == Decimal("7.5")
        for path in (show.agent_url("org_a", "agent_a"), show.agent_url("..", ODD)):
            status, text, _ = await reader.get(path)
            assert (status, ODD in text) == (200, False)
        assert (await reader.get("/agents/org_a/nobody"))[0] == 404

    visit(check, CallsWorker(table))


def test_a_settlement_is_shown_like_a_receipt_with_its_bytes(table: Calls) -> None:
    event = next(event for event in table.events() if event["data"]["agent"] == "agent_a")
    exact = next(send.value for send in table.sends if event["id"].encode() in (send.value or b""))

    async def check(reader: Reader, served: list[Served]) -> None:
        path = show.settlement_url(event["id"])
        status, text, _ = await reader.get(path)
        assert (status, event["id"] in text, "do not add up" in text) == (200, True, False)
        assert (await reader.json(path))["statement"] == event
        assert (await reader.get(f"{path}/statement"))[1].encode() == exact
        assert (await reader.get("/settlements/evt_none"))[0] == 404
        (report,) = (await reader.json("/agents/org_a/agent_a"))["currencies"]
        assert event["id"] in [one["settlement_id"] for one in report["consumers"]]

    visit(check, CallsWorker(table))


def test_rows_are_listed_raw(table: Calls) -> None:
    shown = [rpc_codec.RPC.readable(key, value) for key, value in table.store.scan(b"h", b"t")]
    assert [key[0] for key, _ in shown] == [
        "hour",
        "hour",
        "ids",
        "ids",
        *["account"] * 3,
        "position",
        *["settlement"] * 2,
    ]
    for key, row in shown:
        assert table.store.get(rpc_codec.RPC.readable_key(tuple(json.loads(json.dumps(key))))) is not None
        json.dumps(row, default=str)
    with pytest.raises(ValueError, match="is not the key"):
        rpc_codec.RPC.readable_key(("month", "2025-01"))


def test_workers_of_another_group_say_who_would_know() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        status, text, _ = await reader.get("/agents")
        assert (status, "rpc-billing" in text) == (503, True)

    visit(check, *pair(World(empty=True)))


def test_two_workers_and_one_that_falls_silent(table: Calls) -> None:
    other = Calls(number=1)
    other.apply(call("10:00", agent="agent_z", price="2"))
    first, second = CallsWorker(table, "rpc-0", partitions=[0]), CallsWorker(other, "rpc-1", partitions=[1])

    async def check(reader: Reader, served: list[Served]) -> None:
        assert [row["agent"] for row in (await reader.json("/agents"))["agents"]] == [ODD, "agent_a", "agent_z"]
        assert (await reader.json("/agents/org_a/agent_z"))["worker"] == "rpc-1"
        await served[1].stop()
        first.world.advance()
        twin = await reader.json("/agents")
        shown = [(row["agent"], row["stale"]) for row in twin["agents"]]
        assert shown == [(ODD, False), ("agent_a", False), ("agent_z", True)]
        assert twin["silent"]

    visit(check, first, second)
