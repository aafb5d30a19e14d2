"""`streamapp replay --rewrite`: a sink's rows of a time, made again from the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import click
from rich.table import Table

from streamapp.cli.tables.talk import Talk, advance, unreadable
from streamapp.clock import wall_ms
from streamapp.errors import Refused
from streamapp.replay.rewrite import Range, Rewritten, ranges, rewrite
from streamapp.settings import Settings
from streamapp.sinks.declaration import SinkDeclaration
from streamapp.sinks.registry import SINKS, declared


class Span(NamedTuple):
    """Whose rows, and of which time; `to_ms` is not included."""

    sink: SinkDeclaration[Any]
    from_ms: int
    to_ms: int


def span_of(group: str | None, from_ms: int | None, to_ms: int | None) -> Span:
    """What is asked for. Raises `UsageError` for half of it, `Refused` for rows that are final."""
    if group is None or from_ms is None or to_ms is None or from_ms >= to_ms:
        raise click.UsageError("--rewrite needs --group, --from and a later --to")
    sinks = {sink.group: sink for sink in (declared(name) for name, _ in SINKS) if sink.rewriter is not None}
    if group not in sinks:
        raise Refused(f"--rewrite is for {' and '.join(sorted(sinks))}; the table of {group} takes --recompute")
    return Span(sinks[group], from_ms, to_ms)


async def rewritten(span: Span, settings: Settings, talk: Talk) -> dict[str, Any]:
    """Show the plan, ask, do it. Somebody who is asked has seen how many rows differ."""
    sink = span.sink
    of = await ranges(settings, sink, span.from_ms, span.to_ms)
    talk.console.print(plan_table(of, sink.source.topic))
    found = Rewritten()
    if of and (talk.dry_run or not talk.yes):
        found = await _run(span, of, settings, talk, dry_run=True)
        talk.console.print(summary(found))
    # Asked also where nothing differs: a run that ended before its last step left rows to remove.
    if of and talk.agreed(f"Replace {found.differs:,} rows, and remove rows that were replaced?"):
        found = await _run(span, of, settings, talk, dry_run=False)
        gone = f"\n{found.removed:,} rows that were replaced are removed" if found.removed else ""
        talk.console.print(summary(found) + gone)
    elif not of:
        talk.console.print("the group has kept no record of this time, or the topic no longer has them: nothing to do")
    parts = [range_._asdict() for range_ in of]
    return {"group": sink.group, "dry_run": talk.dry_run, "ranges": parts, "rewrite": asdict(found)}


async def _run(span: Span, of: Sequence[Range], settings: Settings, talk: Talk, *, dry_run: bool) -> Rewritten:
    with talk.progress() as progress:
        task = progress.add_task("compared" if dry_run else "made again", total=sum(each.offsets for each in of))
        return await rewrite(span.sink, settings, of, wall_ms(), advance(progress, task), dry_run=dry_run)


def plan_table(of: Sequence[Range], topic: str) -> Table:
    """The plan for a person."""
    table = Table("partition", "from", "up to", "records", title=f"Rows of {topic} made again")
    for each in of:
        table.add_row(str(each.partition), f"{each.first:,}", f"{each.end - 1:,}", f"{each.offsets:,}")
    table.add_row("all", "", "", f"{sum(each.offsets for each in of):,}", style="bold")
    return table


def summary(found: Rewritten) -> str:
    """`17 of 4,212 rows differ, 3 are missing`, and what is left alone."""
    rows = found.same + found.differs
    text = f"{found.changed:,} of {rows:,} rows differ, {found.missing:,} are missing"
    if found.refused:
        text += f"\nrefused before: {found.refused:,}, redrive their dead letters"
    if found.left_alone:
        text += f"\nleft alone: {found.left_alone:,}, today's code would refuse them"
    return text + unreadable(found.unreadable)
