"""Good events as producers write them: the standard's samples, and every spelling that must be taken. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

TEAMS = ("t", "te", "tea", "team", "équipe", "团队", "a-little-bit-long-string", "x" * 256)
"""Keys of every length of murmur2's last block, and beyond ASCII."""


class Sample(NamedTuple):
    """A record that every reader accepts."""

    name: str
    key: bytes
    value: bytes


def _usage(number: int, name: str, *changes: tuple[str, str], team: str = "team_abc123") -> Sample:
    text = (
        f'{{"schema":"hanzo.stream.v1","id":"evt_01HQ3X7K8M2N4P5R6S7T8U{number:01X}V0W","type":"llm.usage.completed",'
        f'"source":"llm-gateway","timestamp":"2025-01-15T10:30:00.123Z","team_id":"{team}","org_id":"org_hanzo","data":'
        '{"request_id":"req_xyz789","model":"zen-72b","provider":"together","prompt_tokens":150,"completion_tokens":230,'
        '"total_tokens":380,"latency_ms":1250,"cost_usd":0.0038,"user_id":"user_456","api_key_hash":"sha256:abc...",'
        '"cache_hit":false,"stream":true}}'
    )
    return _changed(name, team, text, changes)


def _call(number: int, name: str, *changes: tuple[str, str], agent: str = "agent_7") -> Sample:
    text = (
        f'{{"schema":"hanzo.stream.v1","id":"evt_01HQ6A0N1P5Q7R8S9T0U1V{number:01X}V0W","type":"agent.rpc.metered",'
        '"source":"bot-gateway","timestamp":"2025-01-15T10:33:00.123Z","team_id":"team_abc123","org_id":"org_hanzo",'
        f'"data":{{"agent_id":"{agent}","consumer_id":"agent_9","method":"chat.send","request_id":"req_1",'
        '"unit":"per_request","quantity":1,"price":"0.001","status":"success","latency_ms":80,"currency":"AI"}}'
    )
    return _changed(name, agent, text, changes)


def _changed(name: str, key: str, text: str, changes: tuple[tuple[str, str], ...]) -> Sample:
    for old, new in changes:
        assert text.count(old) == 1, (name, old)
        text = text.replace(old, new)
    return Sample(name, key.encode(), text.encode())


_COST = '"cost_usd":0.0038'
_PRICE = '"price":"0.001"'
_STAMP = "2025-01-15T10:30:00.123Z"

USAGE: tuple[Sample, ...] = (
    _usage(0, "the standard's sample"),
    _usage(1, "a float's 17 digits", (_COST, '"cost_usd":0.0016150000000000001')),
    _usage(2, "an exponent", (_COST, '"cost_usd":3.8E-3')),
    _usage(3, "half a unit of the 12th decimal, to even", (_COST, '"cost_usd":0.0000000000025')),
    _usage(4, "nothing to pay", (_COST, '"cost_usd":-0.0')),
    _usage(5, "18 integer digits", (_COST, '"cost_usd":999999999999999999.999999999999')),
    _usage(6, "a total with reasoning tokens", ('"total_tokens":380', '"total_tokens":1380')),
    _usage(7, "counts as floats", ('"prompt_tokens":150', '"prompt_tokens":1.5e2')),
    _usage(8, "null for what is optional", ('"cache_hit":false,"stream":true', '"cache_hit":null,"stream":null')),
    _usage(9, "a field that nobody knows", ('"stream":true', '"stream":true,"shard":{"n":[1]}')),
    _usage(10, "another zone, nanoseconds", (_STAMP, "2025-01-15T12:30:00.123999999+02:00")),
    _usage(11, "a latency that is none", ('"latency_ms":1250', '"latency_ms":-1')),
    _usage(12, "an error, another currency", ('"stream":true', '"status":"timeout","currency":"AI"')),
    _usage(13, "escapes", ('"zen-72b"', '"z\\u0065n \\ud83d\\ude00"')),
    *(_usage(0, f"key of {len(team.encode())} bytes", ("8U0V0W", f"9U{number}V0W"), team=team)
      for number, team in enumerate(TEAMS)),
)  # fmt: skip
CALLS: tuple[Sample, ...] = (
    _call(0, "a call of the sample's team"),
    _call(1, "tokens", ('"per_request","quantity":1', '"per_token","quantity":12345')),
    _call(2, "trailing zeros", (_PRICE, '"price":"0.00100000000000000000"')),
    _call(3, "12 decimals", (_PRICE, '"price":"0.000000000001"')),
    _call(4, "an exponent", (_PRICE, '"price":"1e-3"')),
    _call(5, "a failed call costs nothing", ('"success"', '"error"')),
    _call(6, "a free call costs nothing", ('"currency":"AI"', '"free_tier":true,"currency":"AI"')),
    _call(7, "a token of another chain", ('"currency":"AI"', '"currency":"USDC.e","chain":"lux","chain_id":96369')),
    *(_call(0, f"key of {len(agent.encode())} bytes", ("1V0V0W", f"2V{number}V0W"), agent=agent)
      for number, agent in enumerate(TEAMS)),
)  # fmt: skip
AUDIT: tuple[Sample, ...] = (
    Sample(
        "the standard's sample",
        b"org_hanzo",
        b'{"schema":"hanzo.stream.v1","id":"evt_01HQ5Z9M0O4P6R7S8T9U0V1W2V0W","type":"iam.auth.login_success",'
        b'"source":"iam","timestamp":"2025-01-15T10:32:00.789Z","org_id":"org_hanzo","data":{"user_id":"user_456",'
        b'"email":"someone@example.com","method":"oauth2","provider":"github","ip":"203.0.113.42",'
        b'"user_agent":"Mozilla/5.0...","application":"app-hanzo"}}',
    ),
)
CAPTURED: tuple[Sample, ...] = (
    Sample(
        "the standard's sample",
        b"team_abc123",
        b'{"schema":"hanzo.stream.v1","id":"evt_01HQ4Y8L9N3O5Q6R7S8T9U0V0W","type":"insights.event.captured",'
        b'"source":"insights-capture","timestamp":"2025-01-15T10:31:00.456Z","team_id":"team_abc123","data":'
        b'{"event":"$pageview","distinct_id":"user_456","properties":{"$current_url":"https://hanzo.ai/dashboard",'
        b'"$browser":"Chrome","$os":"macOS"},"ip":"203.0.113.42","session_id":"sess_abc123",'
        b'"sent_at":"2025-01-15T10:30:59.800Z"}}',
    ),
)
SAMPLES: Mapping[str, tuple[Sample, ...]] = {
    "llm_usage": USAGE,
    "agent_rpc_metering": CALLS,
    "audit_log": AUDIT,
    "events_plugin_ingestion": CAPTURED,
}
"""Topic → records; the first is the standard's own."""
