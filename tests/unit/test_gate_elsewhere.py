"""The gate of the pages before the servers that have no pages: reconcile, and what capture says of itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import forked
import pytest
from capture_calls import InMemory, directory_in
from gates import HOST, METRICS, MODES, PEER, credentials, settings

from streamapp.clock import entropy, wall_ms
from streamapp.reconcile.reconciler import Reconciler
from streamapp.reconcile.server import PORT, application
from streamapp.settings import Settings
from streamapp.settings.web import WebSettings
from streamapp.web.entry.gate import HEADERS, gate
from streamapp.web.entry.rights import ROLES, TABLE, may
from streamapp.web.job import listen
from streamapp.web.pages.front.reconciliation import AskedReconciliation
from streamapp.web.peers import Seals, unsigned


@pytest.mark.parametrize("mode", MODES)
def test_reconcile_answers_by_role_and_to_the_pages(tmp_path: Path, mode: str) -> None:
    async def run() -> None:
        job = Reconciler(Settings(), (), wall_ms, lambda _: [])
        door = gate(settings(tmp_path, mode), "0.0.0.0", wall_ms)
        runner, port = await listen(application(job, door, WebSettings()), "127.0.0.1", 0, PORT)
        base = f"http://127.0.0.1:{port}"
        try:
            async with aiohttp.ClientSession() as session:
                for path in ("/metrics", "/reconciliation.json", "/health", "/nothing"):
                    for role in (None, *ROLES):
                        headers = {"Host": HOST, **credentials(mode, role)}
                        async with session.get(base + path, headers=headers) as answer:
                            least = TABLE.get(path, TABLE["/{rest}"]).least
                            allowed = may(frozenset() if role is None else frozenset({role}), least)
                            assert (answer.status not in {401, 403}) == allowed, (path, role)
                            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
                async with session.get(base + "/metrics", headers={"Authorization": f"Bearer {METRICS}"}) as answer:
                    assert answer.status == 200
            seals = Seals(lambda: (PEER.encode(),), wall_ms, entropy)
            assert (await AskedReconciliation(base, 5, wall_ms, seals.sign).now()).problem == ""
            refused = await AskedReconciliation(base, 5, wall_ms, unsigned).now()
            assert refused.problem.startswith("it answered with status 40")
        finally:
            await runner.cleanup()

    asyncio.run(run())


@pytest.mark.parametrize("mode", MODES)
def test_capture_describes_itself_by_role_and_takes_events_from_everybody(tmp_path: Path, mode: str) -> None:
    capture = InMemory(directory_in(tmp_path), gate=gate(settings(tmp_path, mode), "0.0.0.0", wall_ms, peers=False))
    for path in ("/metrics", "/openapi.json", "/health/live"):
        least = None if path.startswith("/health/") else TABLE[path].least
        for role in (None, *ROLES):
            reply = capture.call(path=path, method="GET", headers=credentials(mode, role))
            assert (reply.status == 200) == may(frozenset() if role is None else frozenset({role}), least)
            assert reply.headers["x-content-type-options"] == "nosniff"
            if reply.status != 200:
                assert json.loads(reply.body)["slug"] == ("not_allowed" if role or mode == "proxy" else "not_named")
    assert capture.call(path="/metrics", method="GET", headers={"Authorization": f"Bearer {METRICS}"}).status == 200
    assert capture.call({"api_key": "ha_project", "event": "e", "distinct_id": "d"}).status == 200
    assert InMemory(directory_in(tmp_path)).call(path="/openapi.json", method="GET").status == 200


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        (["faust", "-A", "streamapp.agents.dead_letter_monitor", "worker"], {"STREAM_WEB__HOST": "0.0.0.0"}),
        (["faust", "-A", "streamapp.agents.dead_letter_monitor", "worker", "--web-bind", "0.0.0.0"], {}),
        (["streamapp", "reconcile"], {"STREAM_RECONCILE__HOST": "0.0.0.0"}),
        (["streamapp", "watch"], {"STREAM_WATCH__HOST": "0.0.0.0"}),
        (["streamapp", "registry"], {"STREAM_REGISTRY__HOST": "0.0.0.0"}),
        (["streamapp", "capture"], {"STREAM_WEB__AUTH": "token"}),
    ],
)
def test_a_process_that_would_be_open_to_everybody_does_not_start(
    tmp_path: Path, command: list[str], environment: dict[str, str]
) -> None:
    """Nor does it ask Kafka first."""
    ours = {"STREAM_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "STREAM_STATE_DIR": str(tmp_path), **environment}
    ended = forked.ran(*command, environment=ours)
    assert ended.returncode == 78, ended.stderr
    assert "STREAM_WEB__" in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr + ended.stdout
