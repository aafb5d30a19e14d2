"""What pages ask besides workers: a class that asks answers everything, and nothing is left to the one that refuses."""

from __future__ import annotations

import pytest

from streamapp.agents.kept_bills import LedgerBills
from streamapp.dead_letters.acting import KafkaActing
from streamapp.dead_letters.recent import RecentLetters
from streamapp.events.log import KafkaEventLog
from streamapp.watch.standing import KafkaStandings
from streamapp.web.entry.audit import KafkaAudit


@pytest.mark.parametrize("asks", [KafkaStandings, RecentLetters, KafkaEventLog, KafkaAudit, KafkaActing, LedgerBills])
def test_it_answers_whatever_its_base_refuses(asks: type) -> None:
    (base,) = asks.__bases__
    questions = {name for name in vars(base) if not name.startswith("_")}
    assert questions
    assert questions <= vars(asks).keys()
