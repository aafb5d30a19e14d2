"""The last records of a topic, without reading the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamapp.kafka.log.reader import Span, read, spans
from streamapp.schemas.judging.rejected import UnreadableBatch


def newest_values(config: Mapping[str, Any], topic: str, per_partition: int) -> list[bytes]:
    """The values of the last `per_partition` offsets of each partition, those that have one, in no order. A batch that
    cannot be read has none.

    Raises `Unavailable` when Kafka does not answer, `Misconfigured` when there is no such topic.
    """
    newest = {
        partition: Span(max(span.start, span.end - per_partition), span.end)
        for partition, span in spans(config, topic).items()
    }
    values = (record.value for record in read(config, topic, newest))
    return [value for value in values if value and not isinstance(value, UnreadableBatch)]
