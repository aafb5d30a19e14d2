"""A dead letter of capture's → the records that capture would have written, had it taken the events.

A dead letter about a whole body that was mended is as many records as the body has events, in one transaction; when one
of them would still be refused, all of them wait. What the event's own bytes do not say comes from the dead letter: the
team is its key, the moment it came in is `failed_at`, the client's address and clock are headers. An event without a
uuid gets one that is made of the letter's id and its place, the same however often it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from streamapp.capture.intake import IP_HEADER, SENT_AT_HEADER, sent_ms_of, token_of
from streamapp.capture.reading import answers
from streamapp.capture.reading.answers import Kind, Refusal
from streamapp.capture.reading.body import unwrap
from streamapp.capture.reading.events import SOURCE, arrival, captured
from streamapp.capture.reading.moments import read_ms
from streamapp.capture.reading.sent import Sent, read
from streamapp.capture.reading.teams import Team, Teams
from streamapp.dead_letters.plan import ATTEMPTS_MAX, Entered, Fix, Rules
from streamapp.dead_letters.read import Letter
from streamapp.directory.teams import Directory, open_directory
from streamapp.kafka.admin import Admin
from streamapp.settings import KafkaSettings, Settings
from streamapp.topics.registry import EVENT_TOPICS

EVENTS_MAX = 10_000  # of one body: with their receipt they are one transaction


def resending(settings: Settings, kafka: KafkaSettings, fix: Fix, attempts_max: int = ATTEMPTS_MAX) -> Rules:
    """By which rules dead letters are sent again: the topics and the directory as they are now, and capture itself for
    what it refused. Asks Kafka for partition counts as the user of `kafka`. Raises `StreamError`."""
    there = Admin(kafka).describe([topic.name for topic in EVENT_TOPICS], settings_of=())
    partitions = {name: state.partitions for name, state in there.items()}
    directory = open_directory(settings.directory)
    reentries = {SOURCE: Again(directory, settings.capture.body_bytes_max)}
    return Rules(partitions, directory.org_of, fix, attempts_max, reentries)


class Again:
    """Capture takes its own dead letters once more: a `dead_letters.plan.Reentry`. Pure."""

    def __init__(self, directory: Directory, bytes_max: int) -> None:
        self._teams, self._bytes_max = Teams(directory), bytes_max

    def __call__(self, letter: Letter, value: bytes | None) -> Entered | str:
        """`value` is a body as a client sends it, in any wrapping; with the token, where the dead letter has no key."""
        unwrapped = unwrap(value or b"", self._bytes_max)
        if isinstance(unwrapped, Refusal):
            return _still(unwrapped.kind)
        sent = read(unwrapped.json, EVENTS_MAX)
        if isinstance(sent, str):
            return _still(answers.MALFORMED_JSON)
        if not sent.events:
            return _still(answers.EMPTY_BODY)
        if len(sent.events) > EVENTS_MAX:
            return (
                f"it is a body of more than {EVENTS_MAX} events: send them in smaller bodies, then drop the dead letter"
            )
        team = self._team(letter, sent)
        if isinstance(team, Refusal):
            return _still(team.kind)
        told = {name: content.decode(errors="replace") for name, content in letter.headers if content is not None}
        sent_ms = read_ms(told[SENT_AT_HEADER]) if SENT_AT_HEADER in told else sent_ms_of(sent, unwrapped.fields)
        arrived = arrival(team, letter.failed_ms, told.get(IP_HEADER, ""), sent_ms)
        values: list[bytes] = []
        for place, event in enumerate(sent.events):
            made = captured(event, arrived, _entropy(letter.id, place))
            if not isinstance(made, bytes):
                return _still(made[0])
            values.append(made)
        return Entered(team.key, values)

    def _team(self, letter: Letter, sent: Sent) -> Team | Refusal:
        if letter.key is not None:
            return self._teams.named(letter.key.decode(errors="replace"))
        token = token_of(sent, {})
        return token if isinstance(token, Refusal) else self._teams.of(token, 0.0)


def _entropy(letter_id: str, place: int) -> Callable[[int], bytes]:
    seed = f"{letter_id}/{place}" if place else letter_id
    return lambda count: blake2b(seed.encode(), digest_size=count).digest()


def _still(kind: Kind) -> str:
    return f"capture would refuse it still: {kind.meaning}"
