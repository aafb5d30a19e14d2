"""The topic `_schemas`: read to its end, again and again, and written by one process at a time (operations A.5).

There is no leader. Whoever writes takes the one transactional id, which fences whoever had it: that one begins anew,
with what the topic holds now. Blocking; not for several threads at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from streamapp.errors import Misconfigured
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Record, Span, read
from streamapp.kafka.produce.transacted import Outgoing, TransactedProducer
from streamapp.registry.records import Change, written
from streamapp.registry.records import read as read_record
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import SCHEMA_REGISTRY_ID, SCHEMA_TOPIC

ANSWER_S = 3.0


class Log:
    """Every method raises `Unavailable` when Kafka does not answer, and `Misconfigured` when the topic is not as it has
    to be or may not be used."""

    def __init__(self, kafka: KafkaSettings, topic: str = SCHEMA_TOPIC, answer_s: float = ANSWER_S) -> None:
        self._kafka = kafka.model_copy(update={"delivery_timeout_seconds": answer_s})
        self._topic, self._answer_s = topic, answer_s
        self._admin: Admin | None = None
        self._producer: TransactedProducer | None = None
        self._checked = False
        self._unsaid: list[Change] = []  # read, and not told yet
        self._at = 0  # everything before this offset was read
        self._written: set[int] = set()  # offsets that this one wrote, and that are not read yet

    def rest(self) -> list[Change]:
        """What the topic says since the last call, up to its end now. A call that raises loses nothing."""
        self._read()
        return self._told()

    def _told(self) -> list[Change]:
        told, self._unsaid = self._unsaid, []
        return told

    def _read(self) -> None:
        if self._admin is None:
            self._admin = Admin(self._kafka, timeout_s=self._answer_s)
        if not self._checked:
            self._check(self._admin)
        where = self._topic, 0
        end = self._admin.end_offsets([where], committed=True)[where]
        known = max(self._at, *(offset + 1 for offset in self._written), 0)
        if end < known:
            # Kafka answers a commit before its markers are in the log, so the stable end may be behind.
            self._demand_whole(known, self._admin.end_offsets([where])[where])
        if end <= self._at:
            return
        config = {**confluent_config(self._kafka), "fetch.wait.max.ms": 20}  # it ends with markers, not with records
        records = list(read(config, self._topic, {0: Span(self._at, end)}, self._answer_s))
        self._unsaid += changes(records, self._written)
        self._at, self._written = end, {offset for offset in self._written if offset >= end}

    def _demand_whole(self, known: int, end: int) -> None:
        if end < known:
            raise Misconfigured(
                f"{self._topic} ends at offset {end} and was known up to {known}: it was deleted and made anew. "
                "Bring its records back, or restart this process to go on without them"
            )

    def take(self) -> list[Change]:
        """Become the one who writes; what the topic says since the last call, whoever wrote it."""
        if self._producer is None:
            self._read()  # says sooner than a transaction that Kafka is away
            self._producer = TransactedProducer(self._kafka, SCHEMA_REGISTRY_ID).__enter__()
        return self.rest()

    def write(self, new: Sequence[Change]) -> None:
        """All or none of it, after `take`. Raises `Refused` when somebody else took over: nothing is known to be done,
        and `take` tells."""
        assert self._producer is not None, "taken"
        records = [Outgoing(self._topic, 0, *written(change)) for change in new]
        try:
            self._written.update(self._producer.commit(records))
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Begin anew at the next `take`."""
        if self._producer is not None:
            self._producer.__exit__(None, None, None)
            self._producer = None

    def _check(self, admin: Admin) -> None:
        """A topic that forgets records would give ids twice."""
        state = admin.describe([self._topic]).get(self._topic)
        if state is None:
            raise Misconfigured(f"topic {self._topic} does not exist; create it with `streamapp topics apply`")
        policy = state.configs.get("cleanup.policy")
        if policy != "compact" or state.partitions != 1:
            raise Misconfigured(
                f"{self._topic} has cleanup.policy={policy} and {state.partitions} partitions; it must be compact and "
                "have one partition: else it forgets schemas, or has no order"
            )
        self._checked = True


def changes(records: Iterable[Record], written_here: Collection[int]) -> list[Change]:
    """What records say; those at the offsets `written_here` are known already.

    Raises `Misconfigured` for a batch that cannot be read: ids that it gave would be given again.
    """
    found: list[Change | None] = []
    for record in records:
        if isinstance(record.value, UnreadableBatch):
            raise Misconfigured(
                f"{record.topic} cannot be read at offset {record.offset}: {record.value.error}. Ids that it gave "
                "would be given again. See docs/runbook.md, The registry cannot write"
            )
        if record.offset not in written_here:
            found.append(read_record(record.key, record.value))
    return [one for one in found if one is not None]
