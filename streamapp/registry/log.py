"""The topic `_schemas`: read to its end, again and again, and written by one process at a time (operations A.5).

There is no leader. Whoever writes takes the one transactional id, which fences whoever had it: that one begins anew,
with what the topic holds now. Blocking; not for several threads at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamapp.errors import Misconfigured
from streamapp.kafka.admin import Admin
from streamapp.kafka.log.reader import Span, read
from streamapp.kafka.produce.transacted import Outgoing, TransactedProducer
from streamapp.kafka.security import confluent_config
from streamapp.registry.records import Change, written
from streamapp.registry.records import read as read_record
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
        self._at = 0  # the offset behind what was read or written

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
        end = self._admin.end_offsets([(self._topic, 0)], committed=True)[self._topic, 0]
        if end < self._at:
            raise Misconfigured(
                f"{self._topic} ends at offset {end} and was read up to {self._at}: it was deleted and made anew. "
                "Bring its records back, or restart this process to go on without them"
            )
        if end == self._at:
            return
        config = {**confluent_config(self._kafka), "fetch.wait.max.ms": 20}  # it ends with markers, not with records
        records = list(read(config, self._topic, {0: Span(self._at, end)}, self._answer_s))
        self._at = end
        told = (read_record(record.key, record.value) for record in records)
        self._unsaid += [one for one in told if one is not None]

    def take(self) -> list[Change]:
        """Become the one who writes; what the topic says since the last call, whoever wrote it."""
        if self._producer is None:
            self._read()  # says sooner than a transaction that Kafka is away
            self._producer = TransactedProducer(self._kafka, SCHEMA_REGISTRY_ID).__enter__()
        return self.rest()

    def write(self, changes: Sequence[Change]) -> None:
        """All or none of it, after `take`. Raises `Refused` when somebody else took over: nothing is known to be done,
        and `take` tells."""
        assert self._producer is not None, "taken"
        records = [Outgoing(self._topic, 0, *written(change)) for change in changes]
        try:
            offsets = self._producer.commit(records)
        except BaseException:
            self.leave()
            raise
        self._at = offsets[-1] + 2  # and the end of the transaction

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
