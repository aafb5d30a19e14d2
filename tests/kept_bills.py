"""What a service keeps of `billing_events`, both ways at once, and what the ledger has of the same records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from usage_log import Table
from usage_log import event as used

from streamapp.kafka.bills.event import Bucket, Event, bucket_of, is_next
from streamapp.meters.usage.statement import event as statement_event
from streamapp.schemas.billing import BillingHourly, BillingRevised
from streamapp.schemas.settlement import RpcSettled
from streamapp.schemas.values.timestamp import format_ms
from streamapp.sinks.ledger.rows import Bill, Settlement, to_row


@dataclass
class Kept:
    """A service's own tables. `position` is saved with them, as one transaction does."""

    revisions: dict[Bucket, int] = field(default_factory=dict)
    totals: dict[Bucket, Decimal] = field(default_factory=dict)  # of the highest revision
    sums: dict[Bucket, Decimal] = field(default_factory=dict)  # of the differences
    settled: dict[str, Decimal] = field(default_factory=dict)
    position: dict[int, int] = field(default_factory=dict)

    def keep(self, event: Event) -> None:
        if isinstance(event, RpcSettled):
            self.settled[event.id] = event.data.amount
        elif isinstance(event, BillingHourly | BillingRevised):
            bucket = bucket_of(event)
            if is_next(event, self.revisions.get(bucket)):
                self.revisions[bucket] = event.data.revision
                self.totals[bucket] = event.data.totals.cost
                self.sums[bucket] = self.sums.get(bucket, Decimal(0)) + event.data.delta.cost


def ledger_of(values: Iterable[bytes]) -> tuple[dict[Bucket, Decimal], dict[str, Decimal]]:
    """The ledger's newest bill of each hour, and its settlements."""
    rows = [to_row("billing_events", 0, 0, value) for value in values]
    bills = sorted((row for row in rows if isinstance(row, Bill)), key=lambda row: row.revision)
    newest = {
        Bucket(row.org_id, row.team_id or "", row.currency, format_ms(row.period_start_ms)): row.cost for row in bills
    }
    return newest, {row.id: row.amount for row in rows if isinstance(row, Settlement)}


def billed() -> list[tuple[bytes, bytes]]:
    """Key and value of bills of three orgs: first ones, and several revisions of each."""
    table = Table()
    for hour in range(10, 14):
        for minute in range(0, 60, 5):
            late = f"{hour - 1}:30" if hour > 10 else f"{hour}:00"
            for number in range(3):
                table.apply(used(f"{hour}:{minute:02d}", f"team_{number}", f"org_{number}", cost="0.1"))
                table.apply(used(late, f"team_{number}", f"org_{number}", cost="0.000000000001"))
    return [(one.key.org.encode(), statement_event(one, "llm_usage", 0)[1]) for one in table.statements()]
