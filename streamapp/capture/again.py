"""A letter of capture's → the record that the door would have written, had it taken the event. Pure.

What the event's own bytes do not say comes from the letter: the team is its key, the moment it came in is `failed_at`,
the client's address and clock are headers. An event without a uuid gets one that is made of the letter's id, the same
however often it is made.
"""

from __future__ import annotations

from hashlib import blake2b

from streamapp.capture import answers
from streamapp.capture.answers import Kind, Refusal
from streamapp.capture.body import unwrap
from streamapp.capture.events import arrival, captured
from streamapp.capture.intake import IP_HEADER, SENT_AT_HEADER, sent_ms_of, token_of
from streamapp.capture.moments import read_ms
from streamapp.capture.sent import Sent, read
from streamapp.capture.teams import Team, Teams
from streamapp.directory import Directory
from streamapp.ops.letters import Letter
from streamapp.ops.letters_plan import Entered


class Again:
    """Capture as the door that its own letters go through once more: an `ops.letters_plan.Door`."""

    def __init__(self, directory: Directory, bytes_max: int) -> None:
        self._teams, self._bytes_max = Teams(directory), bytes_max

    def __call__(self, letter: Letter, value: bytes | None) -> Entered | str:
        """`value` is one event as a client sends it, in any wrapping; with the token, where the letter has no key."""
        unwrapped = unwrap(value or b"", self._bytes_max)
        if isinstance(unwrapped, Refusal):
            return _still(unwrapped.kind)
        found = read(unwrapped.json, 1)
        if isinstance(found, str):
            return _still(answers.MALFORMED_JSON)
        sent = found[1]
        if len(sent.events) != 1:
            return "it is a body of several events: send them to the door in smaller bodies, then drop the letter"
        team = self._team(letter, sent)
        if isinstance(team, Refusal):
            return _still(team.kind)
        told = {name: content.decode(errors="replace") for name, content in letter.headers if content is not None}
        sent_ms = read_ms(told[SENT_AT_HEADER]) if SENT_AT_HEADER in told else sent_ms_of(sent, {})
        arrived = arrival(team, letter.failed_ms, told.get(IP_HEADER, ""), sent_ms)
        made = captured(sent.events[0], arrived, lambda count: blake2b(letter.id.encode(), digest_size=count).digest())
        return Entered(team.key, made) if isinstance(made, bytes) else _still(made[0])

    def _team(self, letter: Letter, sent: Sent) -> Team | Refusal:
        if letter.key is not None:
            return self._teams.named(letter.key.decode(errors="replace"))
        token = token_of(sent, {})
        return token if isinstance(token, Refusal) else self._teams.of(token, 0.0)


def _still(kind: Kind) -> str:
    return f"capture would refuse it still: {kind.meaning}"
