"""A realistic stream of `audit_log` (decision 17), reproducible to the byte like `simulate.usage_stream`.

Now and then a service writes a password or a token into its event, as services do: archives must mask it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from streamapp.schemas.judging.rejected import Reason
from streamapp.simulate.poison import BROKEN, NO_MOMENT, Poison, sub
from streamapp.simulate.stream import SimulatedRecord, Source, StreamSpec, stream
from streamapp.simulate.text import ids, stamps
from streamapp.simulate.world import draws, owner, tenants, zipf

LATE_HOURS_MAX = 13 * 24
OTHER = b'"user_agent":"', b'"user_agent":"another '
SECRET_SHARE = 5  # of 16: events of an action with a secret that tell it
USERS = 512
AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Firefox/133.0",
    "hanzo-cli/2.4.1",
)


class Action(NamedTuple):
    """Something that is audited: its type and source, the text of its own fields, how often it happens. `secret` is the
    text before and after a secret, in data that should not have it."""

    type: str
    source: str
    fields: str
    weight: int
    secret: tuple[str, str] | None = None


ACTIONS: tuple[Action, ...] = (
    Action("iam.auth.login_success", "iam", '"method":"oauth2","provider":"github"', 30),
    Action("iam.auth.login_success", "iam", '"method":"oauth2","provider":"google"', 16),
    Action("iam.auth.login_success", "iam", '"method":"password"', 10),
    Action("iam.auth.login_failed", "iam", '"method":"password","reason":"wrong password"', 8, ('"password":"', '"')),
    Action("iam.auth.logout", "iam", '"method":"session"', 14),
    Action("iam.token.issued", "iam", '"scope":"read write"', 6, ('"token":"', '"')),
    Action("iam.token.revoked", "iam", '"scope":"read write"', 2),
    Action("iam.user.created", "iam", '"role":"member"', 3),
    Action("iam.role.granted", "iam", '"role":"admin","granted_to":"user_7"', 2),
    Action("iam.password.changed", "iam", '"strength":4', 2, ('"before":{"password":"', '"}')),
    Action("iam.application.created", "iam", '"name":"Größe & Co"', 1, ('"secret":"', '"')),
    Action("commerce.invoice.viewed", "commerce", '"invoice":"inv_2025_01"', 4),
    Action("commerce.payment.refunded", "commerce", '"amount":"12.500000000000","currency":"USD"', 1),
    Action("gateway.api_key.rotated", "llm-gateway", '"key_id":"key_3"', 2, ('"token":"', '"')),
)


class Org(NamedTuple):
    """An organization as the bytes of its events."""

    key: bytes
    head: str
    domain: str


def audit_stream(spec: StreamSpec, times: Iterable[int] | None = None) -> Iterator[SimulatedRecord]:
    """One record for each moment, which is when it is sent; the orgs are those of `spec.teams` teams."""
    rng = Random(f"audit_log/{spec.seed}")
    who = tenants(Random(spec.seed), spec.teams, spec.directory)
    homes = dict.fromkeys(org for _, org in who.teams)
    orgs = [Org(org.encode(), owner(None, org), f"{number}.example.com") for number, org in enumerate(homes)]
    return stream(Source(_builder(orgs, rng), OTHER, None, POISONS, LATE_HOURS_MAX), spec, rng, times)


def _builder(orgs: Sequence[Org], rng: Random) -> Callable[[int], tuple[bytes, bytes]]:
    """Moment → key and value of a new good event."""
    org_draws = draws(rng, orgs, zipf(len(orgs)))
    action_draws = draws(rng, ACTIONS)
    id_rests, stamp, bits = ids(rng), stamps(), rng.getrandbits

    def build(at_ms: int) -> tuple[bytes, bytes]:
        org, action = next(org_draws), next(action_draws)
        dice = bits(48)
        id_time, second, ms = stamp(at_ms)
        id_rest = next(id_rests)
        user = dice & USERS - 1
        secret = ""
        if action.secret is not None and dice >> 9 & 15 < SECRET_SHARE:
            before, after = action.secret
            secret = f",{before}hush-{dice:012x}{after}"
        return org.key, (
            f'{{"schema":"hanzo.stream.v1","id":"evt_{id_time}{id_rest}","type":"{action.type}",'
            f'"source":"{action.source}","timestamp":"{second}{ms:03d}Z",{org.head}"data":{{'
            f'"user_id":"user_{user}","email":"user{user}@{org.domain}",{action.fields}{secret},'
            f'"ip":"203.0.113.{dice >> 13 & 255}","user_agent":"{AGENTS[dice >> 21 & 3]}",'
            f'"application":"app-{("hanzo", "chat", "cloud", "console")[dice >> 23 & 3]}"}}}}'
        ).encode()

    return build


POISONS: tuple[Poison, ...] = (
    *BROKEN,
    NO_MOMENT,
    Poison("another type", Reason.UNKNOWN_TYPE, True, sub(rb'"type":"[^"]*"', b'"type":"login"')),
    Poison("no user", Reason.INVALID_DATA, True, sub(rb'"user_id":"[^"]*",', b"")),
    Poison("user as number", Reason.INVALID_DATA, True, sub(rb'"user_id":"user_([0-9]+)"', rb'"user_id":1\1')),
    Poison("no data", Reason.INVALID_ENVELOPE, True, sub(rb'"data":\{.*\}\}$', b'"data":"none"}')),
)
