"""What the benchmark of a group is: what it reads, what the right answer is, who takes part."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.contender import Contender, Records
from bench.contenders import faust_command, ours_environment
from bench.events import Shape
from bench.load import Prepared, Step
from bench.measure import REFERENCE
from bench.oracle import Answer


@dataclass(frozen=True, slots=True)
class GroupBench:
    """`prepare` makes the topic and the right answer; those who take part read it and are held to it. Ratios are to the
    rate of `reference`."""

    name: str
    prepare: Callable[[Shape, Step], Prepared]
    contenders: tuple[Contender, ...]
    reference: str = REFERENCE


def ours(group: str, module: str, what: str, answer: Callable[[Records], Answer]) -> Contender:
    """The group's worker as people start it."""
    return Contender(
        name="ours",
        what=what,
        prepare=lambda: None,
        commands=lambda run: (faust_command(sys.executable, "-A", module, "worker", "-l", "info"),),
        group=group,
        answer=answer,
        environment=ours_environment,
    )


def answered(file: Path, make: Callable[[], Answer]) -> Answer:
    """The right answer of a file, made when it is not there. Keys are tuples, values what JSON knows."""
    if not file.exists():
        file.write_text(json.dumps(list(make().items())))
    return {tuple(key): value for key, value in json.loads(file.read_text())}
