"""The table of dead letters, declared."""

from __future__ import annotations

import random
from dataclasses import replace

from streamapp.exact.correction import ALL_RECORDS, Correction, Kept
from streamapp.exact.declaration import Late, Making, TableDeclaration
from streamapp.exact.partition.task import Parts
from streamapp.meters.letters.codec import LETTERS
from streamapp.meters.letters.correction import compare
from streamapp.meters.letters.courier import Courier, Patience
from streamapp.meters.letters.parts import ToldLetters, letters_parts
from streamapp.meters.letters.view import LettersView
from streamapp.meters.sources import DEAD_LETTERS
from streamapp.notices.destinations import destinations, names_of, reasons_of
from streamapp.settings import AlertSettings
from tables.letters.fold import LettersOutcome
from tables.letters.incident import AlertRules


def alert_rules(alerts: AlertSettings) -> AlertRules:
    """When a cause is an incident, and who is told. Raises `Misconfigured` for what no destination can be."""
    return AlertRules(
        threshold=alerts.threshold,
        at_once=reasons_of(alerts),
        quiet_ms=alerts.quiet_seconds * 1000,
        update_ms=alerts.update_seconds * 1000,
        destinations=names_of(alerts),
    )


def parts(made: Making) -> Parts[ToldLetters, LettersOutcome]:
    """A courier for each partition tells people of what is found."""
    alerts, clock = made.settings.alerts, made.clock
    patience = Patience(alerts.per_minute, alerts.give_up_seconds * 1000)

    def courier() -> Courier:
        return Courier(destinations(alerts), patience, clock, random.random)

    return letters_parts(alert_rules(alerts), courier, alerts.link)


def counts(made: Making, kept: Kept) -> Parts[ToldLetters, LettersOutcome]:
    """For a recomputation: nobody is told of anything."""
    rules = replace(alert_rules(made.settings.alerts), destinations=())
    return letters_parts(rules, lambda: Courier((), Patience(1, 0), made.clock, random.random), None)


TABLE = TableDeclaration(
    group="dead-letter-monitor",
    rows=LETTERS,
    source=DEAD_LETTERS,
    # Ticks need not wait: one is due only when a notice has arrived or an incident is quiet.
    late=Late.KEPT,
    correction=Correction("rows", compare, counts=counts, lead=ALL_RECORDS),
    parts=parts,
    view=LettersView,
    letters=False,  # what it cannot read is a cause of its own: a dead letter about a dead letter would have no end
    checked=lambda settings: alert_rules(settings.alerts),
    help="dead letters by cause, and the incidents that they are",
)
