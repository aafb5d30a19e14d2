"""What a chaos run came to, as numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from streamapp.chaos.plan import Step
from streamapp.chaos.stock import StockReport
from streamapp.verify.report import BillsReport


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that was done: when, in seconds from the start of the load, and until every partition went on."""

    step: Step
    at_s: float
    recovery_s: float | None

    def as_json(self) -> dict[str, Any]:
        return {"fault": str(self.step), "at_s": round(self.at_s, 1), "recovery_s": self.recovery_s}


@dataclass(frozen=True, slots=True)
class ChaosReport:
    """The result. `verified` is the independent check's; `unread`: records that the workers never came to; `refused`:
    what a worker said that wants a person to do something."""

    seed: int
    events: int
    sent_again: int
    odd: int  # records that no event is in
    faults: list[Done]
    ended: list[str]
    takeovers_s: list[float]
    unread: int
    refused: str
    verified: BillsReport
    stock: StockReport | None

    @property
    def ok(self) -> bool:
        """Every bill is right, every record was read, and every fault was recovered from."""
        recovered = all(done.recovery_s is not None for done in self.faults)
        return self.verified.ok and recovered and not self.unread and not self.refused

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "seed": self.seed,
            "events_in": self.events + self.sent_again + self.odd,
            "sent_again": self.sent_again,
            "bills_out": self.verified.numbers["bills"],
            "faults": [done.as_json() for done in self.faults],
            "ended_by_themselves": self.ended,
            "takeover_s_max": max(self.takeovers_s, default=None),
            "unread": self.unread,
            "refused": self.refused,
            **{name: found.count for name, found in self.verified.faults()},
            "stock_faust": None if self.stock is None else asdict(self.stock),
            "verify": self.verified.in_full(),
        }
