"""The ledger's schema, as numbered versions; a database brings its own words for types. Entries are only ever added."""

from __future__ import annotations

from typing import NamedTuple

_RECORD = """event {text} NOT NULL, topic {text} NOT NULL, partition {small} NOT NULL, record_offset {big} NOT NULL,
            recorded_at {time} NOT NULL DEFAULT {now}"""
_VERSIONS: tuple[tuple[str, ...], ...] = (
    (
        f"""CREATE TABLE bills (
            id {{name}} PRIMARY KEY, kind {{text}} NOT NULL, revision {{big}} NOT NULL, supersedes {{text}},
            org_id {{name}} NOT NULL, team_id {{name}}, currency {{name}} NOT NULL,
            period_start {{time}} NOT NULL, period_end {{time}} NOT NULL,
            cost {{money}} NOT NULL, delta_cost {{money}} NOT NULL,
            requests {{big}} NOT NULL, total_tokens {{big}} NOT NULL,
            {_RECORD}
        ){{by_key}}""",
        "CREATE INDEX bills_by_bucket ON bills (org_id, team_id, currency, period_start, revision)",
        """CREATE TABLE ledger_offsets (
            topic {text} NOT NULL, partition {small} NOT NULL, next_offset {big} NOT NULL,
            PRIMARY KEY (topic, partition)
        ){by_key}""",
        """CREATE VIEW bills_latest AS SELECT * FROM bills b
            WHERE kind IN ('billing.usage.hourly', 'billing.usage.revised') AND NOT EXISTS (
                SELECT 1 FROM bills n WHERE n.org_id = b.org_id AND n.team_id = b.team_id
                AND n.currency = b.currency AND n.period_start = b.period_start AND n.revision > b.revision
                AND n.kind IN ('billing.usage.hourly', 'billing.usage.revised'))""",
    ),
    ("CREATE INDEX bills_by_record ON bills (topic, partition, record_offset)",),
    (
        f"""CREATE TABLE settlements (
            id {{name}} PRIMARY KEY, org_id {{name}} NOT NULL, agent {{name}} NOT NULL,
            consumer {{name}} NOT NULL, currency {{name}} NOT NULL,
            period_start {{time}} NOT NULL, period_end {{time}} NOT NULL,
            amount {{money}} NOT NULL, request_count {{big}} NOT NULL,
            chain {{text}} NOT NULL, chain_id {{big}} NOT NULL,
            {_RECORD}
        ){{by_key}}""",
        "CREATE INDEX settlements_by_account ON settlements (org_id, agent, consumer, currency, period_end)",
    ),
    ("CREATE INDEX bills_by_period ON bills (period_start, id)",),
)


class Words(NamedTuple):
    """How a database spells types. `name`: a text that is compared byte by byte."""

    name: str
    text: str
    small: str  # a whole number of 32 bits
    big: str  # of 64 bits
    money: str
    time: str
    now: str
    by_key: str = ""  # how a table is kept in the order of its primary key


def versions(words: Words) -> tuple[tuple[str, ...], ...]:
    """The statements of each version, for one database."""
    return tuple(tuple(statement.format(**words._asdict()) for statement in version) for version in _VERSIONS)
