"""`streamapp archive`: the audit log's archive, read back and checked."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from streamapp.cli.group import Group
from streamapp.cli.moment import Moment
from streamapp.cli.printed import bars, console, print_faults, print_json, print_table
from streamapp.cli.reached import reached
from streamapp.errors import Misconfigured, StreamError, Unavailable
from streamapp.settings import Settings, current
from streamapp.sinks.archive.read import Listed, Step, Wanted, listed, matching
from streamapp.sinks.archive.store import ArchiveStore, open_archive
from streamapp.verify.copies.archive_whole import ArchiveReport, verify_archive
from streamapp.verify.copies.audit_archive import PAIR, TRAIL, committed_chains
from streamapp.verify.report import PairReport

FOUND = 1
MEANINGS = {
    "missing": "an object, an entry or the end of a chain is gone",
    "edited": "something is not as it was written",
    "doubled": "an offset is there more than once",
    "lost": "a committed record of audit_log is not archived",
    "wrong": "a line is not its record, secrets aside",
}

_partition = click.option("--partition", type=click.IntRange(0), help="Only this partition of audit_log.")
_since = click.option("--since", "since_ms", type=Moment(), help="Events of this time or later.")
_until = click.option("--until", "until_ms", type=Moment(), help="Events before this time.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, without a progress bar.")


@click.group(cls=Group, name="archive")
def command() -> None:
    """The archive of the audit log: list it, read it back, check that it is whole.

    It is where STREAM_ARCHIVE__URL says. Nothing here changes it.
    """


@command.command(name="verify")
@_partition
@click.option("--no-kafka", is_flag=True, help="Check the archive by itself: no broker is asked.")
@_json
def verify_command(partition: int | None, no_kafka: bool, as_json: bool) -> None:
    """Find a missing, edited or doubled record.

    Reads every object and follows the chain of each partition. With Kafka at hand also: the chain ends where the
    group's changelog says, and every committed record that is still in audit_log is archived once, as it was. Ends with
    0 when nothing is wrong, else with 1; with 69 when the archive does not answer.
    """
    settings = current()
    store = _store(settings)
    chains, why_not = ({}, "--no-kafka") if no_kafka else _chains(settings)
    with _bar("objects", shown=not as_json) as step:
        report = asyncio.run(verify_archive(store, TRAIL, step, partition))
    for number, (last, chain) in sorted(chains.items()):
        if partition in (None, number):
            report.expect(number, last, chain)
    pair = None if why_not else PAIR.check(settings)
    ok = report.ok and (pair is None or pair.difference == 0)
    if as_json:
        kafka = {"kafka": why_not or "compared", "log": None if pair is None else pair.as_json()}
        print_json({**report.as_json(), "ok": ok, **kafka})
    else:
        _show(report, pair, why_not, ok)
    if not ok:
        raise click.exceptions.Exit(FOUND)


@command.command(name="ls")
@_partition
@_since
@_until
@_json
def ls_command(as_json: bool, **wanted: Any) -> None:
    """The objects, with what is in them: offsets, records, size, the times of their events."""
    store, want = _store(current()), Wanted(**wanted)
    with _bar("entries", shown=not as_json) as step:
        rows = asyncio.run(listed(store, TRAIL, want, step))
    records = sum(row.entry.count for row in rows if row.entry is not None)
    if as_json:
        facts = {"url": store.url, "objects": len(rows), "records": records, "entries": [_facts(row) for row in rows]}
        print_json(facts)
        return
    table = Table("object", "records", "bytes", "events from", "to", "chain")
    for column in table.columns[1:3]:
        column.justify = "right"
    for row in rows:
        entry = row.entry
        told = ("unfinished", f"{row.size:,}", "", "", "") if entry is None else (
            f"{entry.count:,}", f"{entry.bytes:,}", entry.events_from, entry.events_to, entry.chain[:12]
        )  # fmt: skip
        table.add_row(row.name, *told)
    out = console()
    if rows:
        print_table(table, out)
    out.print(f"{len(rows):,} objects with {records:,} records in {escape(store.url)}", highlight=False)


@command.command(name="cat")
@_partition
@_since
@_until
@click.option("--org", help="Of this org, as the event says, else its key.")
@click.option("--type", "type_", help="Only this type, or types that begin with it: iam.auth.")
@click.option("--count", "only_count", is_flag=True, help="Print how many there are, and nothing else.")
def cat_command(type_: str | None, only_count: bool, **wanted: Any) -> None:
    """Records as they are archived, one JSON object a line, in the order of each partition's log.

    `timestamp_ms` is the record's; the event is as it was sent, with its secrets masked.
    """
    store, want = _store(current()), Wanted(**wanted, type=type_)
    with _bar("objects", shown=sys.stderr.isatty()) as step:
        try:
            count = asyncio.run(_cat(store, want, step, only_count))
        except ValueError as error:
            raise Damaged(str(error)) from None
    if only_count:
        click.echo(count)


class Damaged(StreamError):
    """An object that cannot be read. What came before it was printed."""


async def _cat(store: ArchiveStore, want: Wanted, step: Step, only_count: bool) -> int:
    count, out = 0, click.get_binary_stream("stdout")
    async for line in matching(store, await listed(store, TRAIL, want), want, step):
        count += 1
        if not only_count:
            out.write(line + b"\n")
    out.flush()
    return count


def _store(settings: Settings) -> ArchiveStore:
    return open_archive(settings.archive, settings.archive_url)


def _chains(settings: Settings) -> tuple[dict[int, tuple[int, str]], str]:
    """Where the group's chains end; and why that cannot be said, if it cannot."""
    try:
        reached()
        return committed_chains(settings), ""
    except (Unavailable, Misconfigured) as error:
        return {}, str(error)


def _facts(row: Listed) -> dict[str, Any]:
    if row.entry is None:
        return {"name": row.name, "bytes": row.size, "unfinished": True}
    return {name: getattr(row.entry, name) for name in row.entry.__struct_fields__}


def _show(report: ArchiveReport, pair: PairReport | None, why_not: str, ok: bool) -> None:
    out = console()
    out.print(f"{report.objects:,} objects, {report.records:,} records, {report.bytes:,} bytes in {escape(report.url)}")
    for trail, one in report.generations.items():
        out.print(f"read again: {one.objects:,} objects, {one.records:,} records in {escape(trail)}", highlight=False)
    if pair is None:
        out.print(f"Comparison with Kafka skipped ({escape(why_not)})", style="yellow")
    else:
        out.print(
            f"{pair.events:,} records of audit_log compared, {pair.waiting:,} not committed yet, "
            f"{pair.out_of_reach:,} archived ones have left the log"
        )
    for note in report.behind:
        out.print(f"behind: {note}", style="yellow", markup=False)
    for name in report.strays[:10]:
        out.print(f"none of ours: {name}", style="yellow", markup=False)
    found_ones = (*report.faults(), *(() if pair is None else pair.faults()))
    print_faults(found_ones, MEANINGS, out)
    for name, found in found_ones:
        for example in found.examples:
            out.print(f"{name}: {example.where}: {example.what}", style="red", markup=False, highlight=False)
    verdict = "The archive is whole." if ok else "The archive is not whole."
    out.print(verdict, style="bold green" if ok else "bold red")


@contextmanager
def _bar(what: str, shown: bool) -> Iterator[Callable[[int, int], None]]:
    with bars(shown, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)
