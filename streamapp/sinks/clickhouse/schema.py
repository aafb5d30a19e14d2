"""What the database looks like, as numbered steps; each is done once, in order (want → have → plan → apply).

Every statement may be run again without harm: several workers may start at the same moment, and each of them does what
it finds undone.
"""

from __future__ import annotations

import logging

from streamapp.errors import Misconfigured
from streamapp.sinks.clickhouse.client import ClickHouse

log = logging.getLogger(__name__)

EVENTS = "events"
DROPPED = (
    "the table %s.%s at %s was dropped: it is made again, empty. Rows of before are missing until you restore them "
    'from a backup, or fill the table from the topic: "A ClickHouse table that was dropped" in the runbook'
)
SUPERSEDED = f"""
    SELECT _topic, _partition, _offset, arrayJoin(arrayPopBack(arraySort(groupUniqArray(_revision)))) AS older
    FROM {{database}}.{EVENTS}
    WHERE (_topic, _partition, _offset) IN (
        SELECT _topic, _partition, _offset FROM {{database}}.{EVENTS} WHERE _revision > 0
    )
    GROUP BY _topic, _partition, _offset
"""  # rows of a record that has a row of a later revision
WINDOW_BLOCKS = 10_000  # inserts whose tokens are remembered; a batch is written again within seconds, or not at all

MIGRATIONS: tuple[tuple[int, str, str], ...] = (
    # number, what, statement
    (
        1,
        "events as PostHog keeps them, the team as a string, with where each comes from",
        f"""
        CREATE TABLE IF NOT EXISTS {{database}}.{EVENTS} (
            uuid UUID,
            event String,
            properties String CODEC(ZSTD(3)),
            timestamp DateTime64(3, 'UTC'),
            team_id String,
            distinct_id String,
            session_id String,
            created_at DateTime64(3, 'UTC'),
            _topic LowCardinality(String),
            _partition UInt32,
            _offset UInt64
        )
        ENGINE = ReplacingMergeTree(_offset)
        PARTITION BY toYYYYMM(timestamp)
        ORDER BY (team_id, toDate(timestamp), event, cityHash64(distinct_id), cityHash64(uuid))
        SETTINGS non_replicated_deduplication_window = {WINDOW_BLOCKS}
        """,
    ),
    (
        2,
        "each event once, also before its copies are merged",
        f"CREATE VIEW IF NOT EXISTS {{database}}.{EVENTS}_once AS SELECT * FROM {{database}}.{EVENTS} FINAL",
    ),
    (
        3,
        "a uuid is one event of its team, also when its copies have other days or names (ADR 0025)",
        f"""
        CREATE OR REPLACE VIEW {{database}}.{EVENTS}_once AS
        SELECT * FROM {{database}}.{EVENTS} FINAL
        WHERE (team_id, uuid, created_at, _partition, _offset) NOT IN (
            SELECT team_id, uuid, older.1, older.2, older.3 FROM (
                SELECT team_id, uuid,
                    arrayJoin(arrayPopBack(arraySort(groupArray((created_at, _partition, _offset))))) AS older
                FROM {{database}}.{EVENTS} FINAL
                GROUP BY team_id, uuid
                HAVING count() > 1
            )
        )
        """,
    ),
    (
        4,
        "a uuid is found without reading every row (ADR 0049); parts of before are found by reading them",
        f"ALTER TABLE {{database}}.{EVENTS} "
        "ADD INDEX IF NOT EXISTS by_uuid uuid TYPE bloom_filter(0.001) GRANULARITY 1",
    ),
    (
        5,
        "rows made again have the revision of the rewrite that made them (ADR 0054)",
        f"ALTER TABLE {{database}}.{EVENTS} ADD COLUMN IF NOT EXISTS _revision UInt64 DEFAULT 0, "
        "ADD INDEX IF NOT EXISTS by_offset _offset TYPE minmax GRANULARITY 1, "
        "ADD INDEX IF NOT EXISTS by_revision _revision TYPE minmax GRANULARITY 1",
    ),
    (
        6,
        "of a record, the row of the latest revision; of a uuid, the newest copy",
        f"""
        CREATE OR REPLACE VIEW {{database}}.{EVENTS}_once AS
        WITH latest AS (
            SELECT * FROM {{database}}.{EVENTS} FINAL
            WHERE (_topic, _partition, _offset, _revision) NOT IN ({SUPERSEDED})
        )
        SELECT * FROM latest
        WHERE (team_id, uuid, created_at, _partition, _offset) NOT IN (
            SELECT team_id, uuid, older.1, older.2, older.3 FROM (
                SELECT team_id, uuid,
                    arrayJoin(arrayPopBack(arraySort(groupArray((created_at, _partition, _offset))))) AS older
                FROM latest
                GROUP BY team_id, uuid
                HAVING count() > 1
            )
        )
        """,
    ),
)


def migrate(clickhouse: ClickHouse) -> list[int]:
    """Bring the database to the newest step. Returns what was done.

    When the steps are noted as done and the table of events is not there, somebody has dropped it: it is made again by
    all steps, empty, with an error in the log. Its rows come back from a backup or from the topic, by a person's hand.

    Raises `Misconfigured` when it is newer than this program.
    """
    name = clickhouse.database
    clickhouse.command(f"CREATE DATABASE IF NOT EXISTS {name}")
    clickhouse.command(
        f"CREATE TABLE IF NOT EXISTS {name}.migrations (number UInt32, what String, done_at DateTime64(3, 'UTC')) "
        "ENGINE = ReplacingMergeTree ORDER BY number"
    )
    have = {int(number) for (number,) in clickhouse.rows(f"SELECT DISTINCT number FROM {name}.migrations")}
    newest = MIGRATIONS[-1][0]
    if max(have, default=0) > newest:
        raise Misconfigured(
            f"the database {name} at {clickhouse.settings.url} was made by a newer version: it has step {max(have)}, "
            f"this one knows {newest}; start the newer version"
        )
    if have and not clickhouse.rows(f"EXISTS TABLE {name}.{EVENTS}")[0][0]:
        log.error(DROPPED, name, EVENTS, clickhouse.settings.url)
        have = set()
    plan = [step for step in MIGRATIONS if step[0] not in have]
    for number, what, statement in plan:
        clickhouse.command(statement.format(database=name))
        clickhouse.command(f"INSERT INTO {name}.migrations VALUES ({number}, '{what}', now64(3))")
    return [number for number, _, _ in plan]
