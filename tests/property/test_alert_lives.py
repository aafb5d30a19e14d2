"""Ten thousand lives of groups: Prometheus' own judge says of each minute which alerts fire, and an oracle that knows
what happened says which must. No rule is read to know what to expect."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lives_oracle import YES
from lives_world import MINUTES, Told, World
from promtool import DEPLOY, promtool
from searches import is_long

RULES = DEPLOY / "prometheus" / "rules.yml"
LIVES = 100  # of a world
SEEDS = tuple(range(100)) if is_long() else (0, 1, 20)
"""Of worlds. The three reach every alert."""
PER_FILE = 5
ALERTS = 'count by (alertname, group, reason) (ALERTS{alertstate="firing"})'
ON = "on (alertname, group, reason)"
WRONG = f"{ALERTS} unless {ON} oracle or oracle == {YES} unless {ON} {ALERTS}"
"""What fires and must not; then, as `oracle`, what must fire and does not."""
MAY_MAX = 0.15
"""Of the minutes of all groups: so many of a group may tell an alert or not."""
EVERY = {
    *("GroupWithoutMembers", "GroupCommitsNothing", "ConsumerLagHigh", "ConsumerLagCritical", "ConsumerLagGrows"),
    *("RecordsExpireSoon", "RecordsExpireNow", "RecordsExpiredUnread", "MoneyLost", "BrokerDown", "WatchBlind"),
    *("ProcessDown", "WatchAway", "WatchUnknown", "GroupUnwatched"),
}


def judged(world: World) -> dict[str, Any]:
    """A test as promtool reads it: the oracle's word is a series, too."""
    oracle = Told()
    for minute, expected in enumerate(world.expected):
        oracle.add(
            minute,
            {f'oracle{{alertname="{name}",{label(name)}="{of}"}}': sure for (name, of), sure in expected.items()},
        )
    told = world.told.series | oracle.series
    series = [{"series": name, "values": " ".join(values)} for name, values in told.items()]
    tests = [{"expr": WRONG, "eval_time": f"{minute}m", "exp_samples": []} for minute in range(MINUTES)]
    return {"interval": "1m", "input_series": series, "promql_expr_test": tests}


def label(alert: str) -> str:
    return "reason" if alert == "WatchUnknown" else "group"


def lived(seed: int) -> World:
    world = World(seed, LIVES)
    asyncio.run(world.lived(RULES.read_text(encoding="utf-8")))
    return world


def judge(folder: Path, worlds: list[World], rules: Path = RULES) -> None:
    file = folder / "lives.yml"
    tests = list(map(judged, worlds))
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", file)


@pytest.mark.timeout(1800)
def test_alerts_of_random_lives_are_those_that_what_happened_calls_for(tmp_path: Path) -> None:
    must, may = Counter[str](), 0
    for first in range(0, len(SEEDS), PER_FILE):
        worlds = [lived(seed) for seed in SEEDS[first : first + PER_FILE]]
        judge(tmp_path, worlds)
        for expected in (one for world in worlds for one in world.expected):
            must.update(name for (name, _), sure in expected.items() if sure == YES)
            may += len({group for (_, group), sure in expected.items() if sure != YES})
    assert must.keys() >= EVERY
    assert may < MAY_MAX * len(SEEDS) * LIVES * MINUTES


def test_a_rule_that_is_wrong_is_found(tmp_path: Path) -> None:
    """The standard's limit is 100,000 records."""
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES.read_text(encoding="utf-8").replace("> 100000", "> 50000"))
    with pytest.raises(AssertionError, match=r'alertname="ConsumerLagHigh"'):
        judge(tmp_path, [lived(0)], rules)
