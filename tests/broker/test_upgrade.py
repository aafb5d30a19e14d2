"""The state that an earlier version left, under this one: `kept_state.py` says what it is and how it was made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kept_state import Kept, answers, registry, unpack
from workers import Sent

RESTORED = re.compile(r"(\d+) rows restored")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_earlier_versions_state_is_gone_on_with(tmp_path: Path, cache_dir: Path) -> None:
    told = unpack(tmp_path)
    kept = Kept(tmp_path, cache_dir, told["at_ms"] + 60_000)
    with kept.cluster() as one:
        bills, sent = one.bills(), one.read("llm_usage")
        assert {*kept.ledger()} == {*bills} != set()
        assert one.done() < len(sent), "it left something unread"
        again = [Sent(row.key, row.value, record_ms=kept.at_ms) for row in sent[::3]]
        worker = kept.work(one, [*again, *kept.usage(seed=17)])
        counts = [int(rows) for rows in RESTORED.findall(worker.said())]
        assert (bool(counts), sum(counts)) == (True, 0), "its rows were on the disk"
        after = one.bills()
        assert (len(after) > len(bills), sorted({*bills} - {*after})) == (True, [])
        assert {*kept.ledger()} == {*after}
        one.verify()
        with registry(one) as made:
            now = answers(made)
            assert {subject: now.get(subject, [])[: len(rows)] for subject, rows in told["registry"].items()} == told[
                "registry"
            ]
