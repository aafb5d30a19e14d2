"""Every setting there is, in one frozen tree.

Read from the environment: prefix `STREAM_`, nested names joined by `__`
(`STREAM_KAFKA__BOOTSTRAP_SERVERS`). `streamapp settings` prints them with meaning and source.
"""

from __future__ import annotations

import os
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsConfigDict

from streamapp.errors import Misconfigured
from streamapp.settings.files import Sourced, named
from streamapp.settings.kafka import KafkaSettings as KafkaSettings
from streamapp.settings.web import WebSettings
from streamapp.settings.words import unknown

PREFIX, DELIMITER = "STREAM_", "__"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BrokerSettings(_Section):
    """The embedded broker (`streamapp broker start`)."""

    port: int = Field(9092, ge=0, le=65535, description="Port of the embedded broker; 0 takes a free one")
    dir: Path | None = Field(None, description="Data directory; default: STATE_DIR/broker")
    heap_mb: int = Field(256, ge=128, description="Java heap of the embedded broker, MiB")
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of the broker's own /metrics; 0: none")


class BillingSettings(_Section):
    """When hours close."""

    grace_seconds: int = Field(
        300, ge=0, le=604_800, description="How long after its end (event time) an hour stays open"
    )
    idle_seconds: float = Field(60, gt=0, description="The wall clock closes a partition without records this long")
    lines_max: int = Field(
        200, ge=10, le=250, description="Models of an hour's bill with a line of their own; further ones share one"
    )


class SettlementSettings(_Section):
    """When accounts of metered calls are settled (`rpc-billing`)."""

    min_amount: Decimal = Field(
        Decimal("0.1"), ge=Decimal("1E-12"), description="An account that owes less stays pending, in any currency"
    )
    grace_seconds: int = Field(
        300, ge=0, le=86_400, description="How long after its end (event time) an hour of calls stays open"
    )
    idle_seconds: float = Field(60, gt=0, description="The wall clock closes a partition without records this long")
    methods_max: int = Field(
        200, ge=10, le=500, description="Methods of an account that are listed by name; further ones count together"
    )


class WorkerSettings(_Section):
    """The chunk engine."""

    chunk_records: int = Field(5000, ge=1, le=50_000, description="Records folded in one transaction, at most")
    chunk_linger_ms: int = Field(75, ge=0, le=5000, description="How long a small chunk waits for more records")
    fetch_wait_ms: int = Field(
        900,
        ge=0,
        le=5000,
        description="How long Kafka gathers a fetch of less than 64 KiB; less: rows are seen sooner, Kafka works more",
    )
    batch_bytes_max: int = Field(
        64 << 20,
        ge=1 << 20,
        le=95 << 20,  # librdkafka, which the commands read with, unpacks up to 100 MB
        description="A record batch that unpacks to more becomes a dead letter; at least the topics' max.message.bytes",
    )
    ids_in_memory: int = Field(
        250_000, ge=1000, description="Remembered event ids of a partition in memory, 30 bytes each; more go to disk"
    )
    session_timeout_seconds: float = Field(10, ge=1, description="A silent worker is replaced after this")
    leave_on_stop: bool = Field(
        True, description="A worker that stops leaves its group at once; false: its place stays until the session ends"
    )
    poison_limit_ratio: float = Field(
        0.5, gt=0, le=1, description="Stop when more than this share of a partition's last 50,000 records was refused"
    )
    poison_limit_consecutive: int = Field(20_000, ge=1, description="Stop when this many records in a row were refused")
    poison_accepted_until: AwareDatetime | None = Field(
        None, description="Records with a timestamp up to this are known to be bad; no limit counts their dead letters"
    )

    @property
    def poison_accepted_until_ms(self) -> int:
        """The same in milliseconds; -1: nothing is known to be bad."""
        return -1 if self.poison_accepted_until is None else round(self.poison_accepted_until.timestamp() * 1000)


class MetricsSettings(_Section):
    """What is told apart about calls of models (`llm-metrics`)."""

    models_max: int = Field(
        50, ge=1, le=1000, description="Models of a partition that are listed by name; the rest is `other`"
    )
    minutes_kept: int = Field(120, ge=10, le=1440, description="Minutes of figures kept; hours: as long as llm_usage")


class AlertSettings(_Section):
    """Who is told of dead letters, and when (`dead-letter-monitor`)."""

    threshold: int = Field(10, ge=1, description="Dead letters of one cause within five minutes that open an incident")
    reasons_at_once: str = Field(
        "conflicting_duplicate", description="Comma-separated reasons of which one dead letter opens an incident"
    )
    quiet_seconds: int = Field(900, ge=300, description="An incident is resolved this long after its last dead letter")
    update_seconds: int = Field(900, ge=60, description="A growing incident is notified again no sooner than this")
    pagerduty_routing_key: SecretStr | None = Field(
        None, description="Integration key of PagerDuty's Events API v2, 32 characters; without it nobody is paged"
    )
    pagerduty_url: str = Field(
        "https://events.pagerduty.com/v2/enqueue", description="PagerDuty's address; its European region has another"
    )
    webhook_url: SecretStr | None = Field(None, description="Incidents are POSTed there as JSON")
    webhook_token: SecretStr | None = Field(None, description="Sent to the webhook as a bearer token")
    link: str | None = Field(None, description="Address of the page /letters that notifications link to")
    per_minute: int = Field(
        60, ge=1, description="Notifications per minute to a destination, at most; PagerDuty accepts 120"
    )
    timeout_seconds: float = Field(10, gt=0, description="A destination that answers later is asked again")
    give_up_seconds: int = Field(86_400, ge=60, description="An undelivered notification is given up after this")


class ClickHouseSettings(_Section):
    """Where analytics events are kept (`analytics-ingest`), and the embedded engine (`streamapp clickhouse`)."""

    url: str = Field(
        "http://127.0.0.1:8123",
        description="http://host:port or https://…; chdb:///folder: the engine inside of a single worker",
    )
    username: str = Field("default", description="ClickHouse user")
    password: SecretStr | None = Field(None, description="ClickHouse password")
    database: str = Field("stream", pattern=r"^[a-z_][a-z0-9_]*$", description="Database; created if missing")
    timeout_seconds: int = Field(30, ge=1, description="A statement that takes longer is tried again")
    batch_rows: int = Field(50_000, ge=1, description="Records of one insert; it may be one chunk more")
    batch_bytes: int = Field(16 << 20, ge=1 << 10, description="Bytes of records of one insert, or one chunk more")
    flush_seconds: float = Field(
        5, gt=0, description="How long records wait for an insert to fill; ClickHouse wants few, large inserts"
    )
    keep_ip: bool = Field(False, description="Keep clients' addresses, as $ip of the properties")
    port: int = Field(8123, ge=0, le=65535, description="Port of `streamapp clickhouse`; 0 takes a free one")
    dir: Path | None = Field(None, description="Data of `streamapp clickhouse`; default: STATE_DIR/clickhouse")


class CaptureSettings(_Section):
    """The HTTP endpoint for events of client libraries (`streamapp capture`)."""

    host: str = Field("127.0.0.1", description="Address capture listens on")
    port: int = Field(3000, ge=0, le=65535, description="Port of capture; 0 takes a free one; processes may share it")
    connections_max: int = Field(4096, ge=1, description="Connections of one process; the next one is answered 503")
    body_bytes_max: int = Field(20 << 20, ge=1, description="A larger body, as sent or unpacked, is answered 413")
    events_max: int = Field(500, ge=1, description="Events of one body; more are answered 400")
    buffer_bytes_max: int = Field(
        64 << 20, ge=8 << 20, description="Bytes of records not acknowledged yet, and of bodies coming in; then 503"
    )
    buffer_records_max: int = Field(100_000, ge=1000, description="Records not acknowledged yet; then 503")
    request_timeout_seconds: float = Field(30, gt=0, description="A request must have arrived within this")
    keep_alive_seconds: float = Field(75, gt=0, description="An idle connection is kept; longer than load balancers do")
    unknown_letters_per_second: float = Field(
        100, gt=0, description="Unreadable bodies without a known token that go to dead_letter; above that 429"
    )
    drain_seconds: float = Field(15, gt=0, description="How long SIGTERM waits for Kafka's acknowledgements")
    proxies: int = Field(
        0, ge=0, le=16, description="Number of proxies in front: the client's place from the end of X-Forwarded-For"
    )


class ReconcileSettings(_Section):
    """The job that checks what must agree (`streamapp reconcile`), and where the pages find it."""

    host: str = Field("127.0.0.1", description="Address the reconciliation job listens on")
    port: int = Field(6200, ge=0, le=65535, description="Port of the reconciliation job; 0 takes a free one")
    interval_seconds: float = Field(300, gt=0, description="Pause between two rounds of all checks, at least")
    hours: int = Field(48, ge=0, description="Hours of usage that the job reads; 0: everything in the log")
    url: str = Field("http://127.0.0.1:6200", description="Where the pages ask for what the job found")


class WatchSettings(_Section):
    """The process that asks Kafka how every group stands (`streamapp watch`), and where the pages find it."""

    host: str = Field("127.0.0.1", description="Address the watch listens on")
    port: int = Field(6300, ge=0, le=65535, description="Port of the watch; 0 takes a free one")
    interval_seconds: float = Field(15, ge=1, description="Kafka is asked this often; scrape no more often")
    url: str = Field("http://127.0.0.1:6300", description="Where the pages ask for the last hour of every group")


class RegistrySettings(_Section):
    """The schema registry (`streamapp registry`)."""

    host: str = Field("127.0.0.1", description="Address the schema registry listens on")
    port: int = Field(8081, ge=0, le=65535, description="Port of the schema registry; 0 takes a free one")
    url: str = Field("http://127.0.0.1:8081", description="Where the pages ask for the subjects of other teams")


class ArchiveSettings(_Section):
    """Where audit records are kept for good (`audit-archive`)."""

    url: str | None = Field(None, description="s3://bucket/prefix or file:///folder; default: STATE_DIR/archive")
    endpoint: str | None = Field(None, description="Address of an S3-compatible store; without it Amazon's own")
    region: str = Field("us-east-1", description="Region of the bucket")
    access_key_id: SecretStr | None = Field(
        None, description="Access key; without it AWS_ACCESS_KEY_ID and its like, or the machine's own role"
    )
    secret_access_key: SecretStr | None = Field(None, description="Secret of the access key")
    session_token: SecretStr | None = Field(None, description="Session token of a temporary access key")
    allow_http: bool = Field(False, description="Speak to an endpoint without TLS that is not on this machine")
    flush_records: int = Field(50_000, ge=1, description="An object is written when this many records wait")
    flush_bytes: int = Field(16 << 20, ge=1024, description="An object is written when this many bytes of records wait")
    flush_seconds: float = Field(60, gt=0, description="An object is written when a record waited this long")
    zstd_level: int = Field(9, ge=1, le=19, description="Level of compression; 3 is five times as fast, a third larger")
    timeout_seconds: float = Field(30, gt=0, description="The store answers within this, or is asked again")


class Settings(Sourced):
    """All settings. Instances are immutable; tests make their own."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=DELIMITER, frozen=True, extra="ignore")

    kafka: KafkaSettings = KafkaSettings()
    broker: BrokerSettings = BrokerSettings()
    billing: BillingSettings = BillingSettings()
    settlement: SettlementSettings = SettlementSettings()
    worker: WorkerSettings = WorkerSettings()
    web: WebSettings = WebSettings()
    metrics: MetricsSettings = MetricsSettings()
    alerts: AlertSettings = AlertSettings()
    capture: CaptureSettings = CaptureSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    watch: WatchSettings = WatchSettings()
    registry: RegistrySettings = RegistrySettings()
    archive: ArchiveSettings = ArchiveSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    state_dir: Path = Field(Path(".state"), description="Local state: tables, embedded broker, SQLite ledger")
    cache_dir: Path = Field(Path(".cache"), description="Downloads that can be made again: the broker's jars")
    ledger_url: str | None = Field(
        None, description="Where bills are kept: sqlite:///path or postgresql://…; default: STATE_DIR/ledger.db"
    )
    directory: Path | None = Field(
        None,
        description="TOML file of teams: team → org, capture token → team, a team's quota in each capture process, its "
        "limits of a month",
    )
    secrets_dir: Path | None = Field(
        None, description="Folder of files, each called as the variable whose value it has; the environment comes first"
    )

    @property
    def ledger(self) -> str:
        """The ledger's URL with the default filled in."""
        return self.ledger_url or f"sqlite:///{self.state_dir / 'ledger.db'}"

    @property
    def archive_url(self) -> str:
        """The archive's URL with the default filled in."""
        return self.archive.url or (self.state_dir / "archive").absolute().as_uri()


def load() -> Settings:
    """Read the settings from the environment.

    Raises `Misconfigured` with one sentence for each wrong setting and for each variable that names none.
    """
    wrong = unknown({**os.environ, **named(os.environ, PREFIX)}, Settings, PREFIX, DELIMITER)
    try:
        found = Settings()
    except ValidationError as error:
        items = ((_variable(item["loc"]), item) for item in error.errors())
        wrong |= {name: _sentence(name, item) for name, item in items if name not in wrong}
    if wrong:
        raise Misconfigured("; ".join(wrong.values()))
    return found


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process, read once."""
    return load()


def _variable(path: tuple[str | int, ...]) -> str:
    return PREFIX + DELIMITER.join(str(part).upper() for part in path)


def _sentence(variable: str, item: ErrorDetails) -> str:
    return f"{variable}={item.get('input')!r} is not usable: {item['msg'].removeprefix('Value error, ')}"
