"""The dashboards, as code: `python deploy/grafana/dashboards.py` writes the JSON files beside it.

A panel is a line: title, unit, PromQL, legend. Import the files into Grafana, or mount the folder as a provisioned one.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

FOLDER = Path(__file__).parent
SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
HEIGHT, WIDTH = 7, 8  # three panels beside each other


class Panel(NamedTuple):
    """`unit` is Grafana's: short, s, bytes, reqps."""

    title: str
    unit: str
    expr: str
    legend: str


def quantile(rank: float, name: str, by: str) -> str:
    """A quantile of a histogram over five minutes."""
    within = f"le, {by}" if by else "le"
    return f"histogram_quantile({rank:g}, sum by ({within}) (rate({name}_bucket[5m])))"


OVERVIEW = {
    "Is it well?": (
        Panel("Processes that answer", "short", "sum by (job) (up)", "{{job}}"),
        Panel("Lag", "short", "sum by (group) (kafka_consumer_group_lag)", "{{group}}"),
        Panel("Checks that differ", "short", "stream_reconciliation_difference", "{{pair}}"),
        Panel("Records applied", "cps", "sum by (group) (rate(stream_records_total[5m]))", "{{group}}"),
        Panel("Versions that run", "short", "count by (version, python) (stream_build_info)", "{{version}} {{python}}"),
        Panel("Open incidents", "short", "max(stream_incidents_open)", "incidents"),
    ),
    "How long people wait": (
        Panel("Capture → topic, p99", "s", quantile(0.99, "stream_capture_to_topic_seconds", ""), "p99"),
        Panel("Topic → table, p99", "s", quantile(0.99, "stream_capture_to_table_seconds", "group"), "{{group}}"),
        Panel(
            "End of an hour → its bill, p99", "s", quantile(0.99, "stream_usage_to_bill_seconds", "group"), "{{group}}"
        ),
        Panel("Capture: answer, p99", "s", quantile(0.99, "stream_capture_request_seconds", ""), "p99"),
        Panel("Commit, p99", "s", quantile(0.99, "stream_commit_seconds", "group"), "{{group}}"),
        Panel("Sink: request, p99", "s", quantile(0.99, "stream_sink_request_seconds", "group"), "{{group}}"),
    ),
    "Capture": (
        Panel(
            "Requests",
            "reqps",
            "sum by (status, slug) (rate(stream_capture_requests_total[5m]))",
            "{{status}} {{slug}}",
        ),
        Panel("Events by outcome", "cps", "sum by (outcome) (rate(stream_capture_events_total[5m]))", "{{outcome}}"),
        Panel("Buffer", "bytes", "stream_capture_buffer_bytes", "{{instance}}"),
        Panel("Refused", "cps", "sum by (reason) (rate(stream_capture_events_refused_total[5m]))", "{{reason}}"),
        Panel("Connections", "short", "stream_capture_connections", "{{instance}}"),
        Panel("Bodies", "Bps", "sum(rate(stream_capture_body_bytes_total[5m]))", "received"),
    ),
    "Calls of models": (
        Panel("Calls", "reqps", "sum by (model) (rate(hanzo_llm_requests_total[5m]))", "{{model}}"),
        Panel("Errors", "reqps", "sum by (model) (rate(hanzo_llm_errors_total[5m]))", "{{model}}"),
        Panel(
            "p99 of the last minute",
            "s",
            'max by (model, stream) (hanzo_llm_request_duration_quantile_seconds{window="1m",quantile="0.99"})',
            "{{model}} {{stream}}",
        ),
        Panel("First token, p99", "s", quantile(0.99, "hanzo_llm_time_to_first_token_seconds", ""), "p99"),
        Panel("All calls, p99", "s", quantile(0.99, "hanzo_llm_request_duration_seconds", ""), "p99"),
        Panel("Tokens", "cps", "sum by (type) (rate(hanzo_llm_tokens_total[5m]))", "{{type}}"),
        Panel("Cost a second", "short", "sum by (currency) (rate(hanzo_llm_cost_total[5m]))", "{{currency}}"),
        Panel("Cache hits", "reqps", "sum by (model) (rate(hanzo_llm_cache_hits_total[5m]))", "{{model}}"),
    ),
}

LAG = {
    "Lag and loss": (
        Panel("Lag", "short", "sum by (group, topic) (kafka_consumer_group_lag)", "{{group}} {{topic}}"),
        Panel(
            "Age of the first unread record", "s", "max by (group, topic) (stream_lag_seconds)", "{{group}} {{topic}}"
        ),
        Panel("Time to loss", "s", "min by (group, topic) (stream_seconds_to_loss)", "{{group}} {{topic}}"),
        Panel("Lag grows by", "cps", "stream_lag_growth", "{{group}} {{topic}}"),
        Panel(
            "Expired unread",
            "short",
            "sum by (group, topic) (increase(stream_records_expired_unread_total[1h]))",
            "{{group}} {{topic}}",
        ),
        Panel("Since the last commit", "s", "stream_commit_age_seconds", "{{group}}"),
    ),
    "Groups": (
        Panel("Members", "short", "stream_group_members", "{{group}}"),
        Panel("State", "short", "stream_group_state == 1", "{{group}} {{state}}"),
        Panel("Partitions owned", "short", "sum by (group) (stream_partitions_owned)", "{{group}}"),
        Panel("Rebalances in an hour", "short", "max by (group) (increase(stream_rebalances_total[1h]))", "{{group}}"),
        Panel("Takeover, p99", "s", quantile(0.99, "stream_takeover_seconds", "group"), "{{group}}"),
        Panel("Lag, as workers know it", "short", "sum by (group) (stream_lag_records)", "{{group}}"),
        Panel("Unknown to the watch", "short", "sum by (reason) (stream_watch_unknown)", "{{reason}}"),
        Panel("Unregistered", "short", "stream_unregistered", "{{kind}} {{name}}"),
        Panel("Kafka last answered", "s", "time() - stream_watch_last_success_timestamp_seconds", "ago"),
    ),
    "Sinks": (
        Panel("Requests that failed", "cps", "sum by (group) (rate(stream_sink_errors_total[5m]))", "{{group}}"),
        Panel("Trouble", "short", "max by (group) (stream_sink_failing)", "{{group}}"),
        Panel("Waits for its batch", "short", "sum by (group) (stream_batch_records)", "{{group}}"),
    ),
}

MONEY = {
    "Money": (
        Panel("Open", "currencyUSD", "sum by (group) (stream_money_open)", "{{group}}"),
        Panel("Unread, an estimate", "currencyUSD", "sum by (group) (stream_money_unread_estimate)", "{{group}}"),
        Panel("Lost, an estimate", "currencyUSD", "sum by (group) (stream_money_lost)", "{{group}}"),
        Panel(
            "Statements", "short", "sum by (group, kind) (increase(stream_statements_total[1h]))", "{{group}} {{kind}}"
        ),
        Panel("Rows of hours that are open", "short", "sum by (group) (stream_open_rows)", "{{group}}"),
        Panel(
            "Watermark behind the present",
            "s",
            "max by (group) (time() - stream_watermark_timestamp_seconds)",
            "{{group}}",
        ),
    ),
    "Events": (
        Panel("Accepted", "cps", "sum by (group) (rate(stream_events_accepted_total[5m]))", "{{group}}"),
        Panel("Repeated", "cps", "sum by (group) (rate(stream_events_duplicate_total[5m]))", "{{group}}"),
        Panel(
            "Refused", "cps", "sum by (group, reason) (rate(stream_events_rejected_total[5m]))", "{{group}} {{reason}}"
        ),
        Panel("Costs rounded", "short", "sum by (group) (increase(stream_cost_rounded_total[1h]))", "{{group}}"),
        Panel("Names together", "short", "sum by (group) (increase(stream_events_other_total[1h]))", "{{group}}"),
    ),
    "Dead letters": (
        Panel("Waiting", "short", "max(stream_dead_letters_waiting)", "waiting"),
        Panel("Age of the oldest", "s", "max(stream_dead_letters_oldest_waiting_seconds)", "age"),
        Panel("Sent again", "short", "increase(stream_dead_letters_redriven_total[1h])", "in an hour"),
        Panel(
            "Written",
            "short",
            "sum by (group, reason) (increase(stream_dead_letters_total[1h]))",
            "{{group}} {{reason}}",
        ),
        Panel("Notices under way", "short", "sum by (destination) (stream_alerts_waiting)", "{{destination}}"),
        Panel(
            "Notices",
            "short",
            "sum by (destination, outcome) (increase(stream_alerts_total[1h]))",
            "{{destination}} {{outcome}}",
        ),
    ),
    "Reconciliation": (
        Panel("Differences", "short", "stream_reconciliation_difference", "{{pair}}"),
        Panel("Could not be checked", "short", "stream_reconciliation_failed", "{{pair}}"),
        Panel("Not yet due", "short", "stream_reconciliation_waiting", "{{pair}}"),
        Panel("Last checked", "s", "time() - stream_reconciliation_last_success_timestamp_seconds", "{{pair}}"),
        Panel("Findings of the topics", "short", "stream_topics_findings", "{{kind}}"),
    ),
}

BROKER = {
    "Throughput": (
        Panel("Messages in", "cps", "kafka_messages_in_per_sec", "{{instance}}"),
        Panel("Bytes in", "Bps", "kafka_bytes_in_per_sec", "{{instance}}"),
        Panel("Bytes out", "Bps", "kafka_bytes_out_per_sec", "{{instance}}"),
    ),
    "Replicas": (
        Panel("Under-replicated", "short", "kafka_under_replicated_partitions", "{{instance}}"),
        Panel("Refuse writes", "short", "kafka_under_min_isr_partitions", "{{instance}}"),
        Panel("Without a leader", "short", "max(kafka_offline_partitions)", "partitions"),
        Panel("Active controllers", "short", "sum(kafka_active_controllers)", "controllers"),
        Panel("State in the quorum", "short", "kafka_raft_state", "{{instance}} {{state}}"),
    ),
    "Disks and threads": (
        Panel("Size by topic", "bytes", "sum by (topic) (kafka_log_size_bytes)", "{{topic}}"),
        Panel("Directories offline", "short", "kafka_offline_log_directories", "{{instance}}"),
        Panel("Request handlers idle", "percentunit", "kafka_request_handler_idle_ratio", "{{instance}}"),
    ),
}

DASHBOARDS = {
    "overview": ("Hanzo Stream", OVERVIEW),
    "lag": ("Hanzo Stream: lag and loss", LAG),
    "money": ("Hanzo Stream: money", MONEY),
    "broker": ("Hanzo Stream: Kafka", BROKER),
}


def expressions() -> list[str]:
    """The PromQL of every panel."""
    return [panel.expr for _, rows in DASHBOARDS.values() for panels in rows.values() for panel in panels]


def rendered(name: str) -> str:
    """A dashboard as Grafana's JSON."""
    title, rows = DASHBOARDS[name]
    made = Dashboard(title).uid(f"hanzo-stream-{name}").tags(["hanzo-stream"]).refresh("30s").time("now-3h", "now")
    made = made.timezone("utc").with_variable(DatasourceVariable("source").label("Prometheus").type("prometheus"))
    for row, panels in rows.items():
        made = made.with_row(Row(row))
        for panel in panels:
            query = Dataquery().expr(panel.expr).legend_format(panel.legend).ref_id("A").datasource(SOURCE)
            if panel.expr.startswith("histogram_quantile"):
                query = query.exemplar(True)
            shown = TimeSeries().title(panel.title).unit(panel.unit).datasource(SOURCE)
            if "growth" not in panel.expr:
                shown = shown.min(0)
            made = made.with_panel(shown.height(HEIGHT).span(WIDTH).with_target(query))
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def main() -> None:
    """Write all of them."""
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(rendered(name), encoding="utf-8")


if __name__ == "__main__":
    main()
