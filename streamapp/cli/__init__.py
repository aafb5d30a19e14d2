"""The command line: one group, one module per command, loaded when called.

Exit codes: 0 done · 1 refused or a check failed · 2 wrong usage (or, for `topics plan`, work to do) · 69 something does
not answer · 78 something must be configured.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

import click

from streamapp import extras
from streamapp.cli.group import Group
from streamapp.errors import StreamError

COMMANDS: tuple[tuple[str, str, str], ...] = (
    # name       module[:command]            one line
    ("run", ".local.run", "Start everything on this machine: broker, workers, capture, simulated streams"),
    ("stop", ".local.scale:stop", "Stop the workers of one group of `streamapp run`"),
    ("start", ".local.scale:start", "Start them again"),
    ("scale", ".local.scale:scale", "Give one group of `streamapp run` more or fewer workers"),
    ("broker", ".local.broker", "The embedded Apache Kafka broker"),
    ("clickhouse", ".local.clickhouse", "ClickHouse's engine on this machine, for analytics-ingest"),
    ("topics", ".kafka.topics", "Plan, apply and check the topics of the registry"),
    ("cluster", ".kafka.cluster", "From one broker to three without losing a record; check the cluster"),
    ("access", ".kafka.access", "Plan, apply, prune and check who may do what in Kafka"),
    ("schemas", ".project.schemas", "The catalog of event types and their JSON Schemas"),
    (
        "contract",
        ".contract",
        "For producers in other languages: schemas, golden vectors, clients; check their records",
    ),
    ("registry", ".kafka.registry", "Serve schemas to clients of Confluent's registry"),
    ("capture", ".capture", "Take events of client libraries by HTTP"),
    ("simulate", ".local.simulate", "Send realistic, seeded streams to the topics that others write"),
    ("verify", ".checks.verify", "Check every bill and every copy of it, independently"),
    ("reconcile", ".checks.reconcile", "Check all that must agree again and again; for Prometheus and the pages"),
    ("watch", ".kafka.watch", "Tell Prometheus how far every group is behind, and what it is about to lose"),
    ("chaos", ".local.chaos", "Break everything on purpose, then check every bill"),
    ("replay", ".tables.replay", "Read a group's records again; recompute a table and publish what changed"),
    ("repartition", ".tables.repartition", "Move a table after its topic got more partitions"),
    ("events", ".events", "Where is my event? By id, team, bill, or the newest"),
    ("dead-letters", ".dead_letters.look", "What was refused: list, show, count, send again, drop"),
    ("bills", ".tables.bills", "The ledger's bills of a month as CSV, JSON or Parquet"),
    ("archive", ".checks.archive", "The audit log's archive: list it, read it back, check that it is whole"),
    ("settings", ".project.settings", "Print every setting with its meaning and where its value came from"),
    ("docs", ".project.docs", "Write or check docs/reference.md, which is made from the code"),
)


class LazyGroup(Group):
    """A group whose commands are imported only when they are called, so that `--help` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, _, _ in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for name, module, _ in COMMANDS:
            if name == cmd_name:
                path, _, attribute = module.partition(":")
                command = getattr(extras.command(__name__ + path), attribute or "command")
                assert isinstance(command, click.Command)
                return command
        return None

    def lines(self, ctx: click.Context) -> list[tuple[str, str]]:
        return [(name, line) for name, _, line in COMMANDS]


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="hanzo-stream", prog_name="streamapp")
def command() -> None:
    """Hanzo Stream: an AI platform's event stream on Apache Kafka, turned into exact bills.

    \b
    First steps on a fresh machine:
      make run            start everything and watch bills appear
      make run FOR=120    the same for two minutes, then verify everything
    """


def main() -> None:
    """Entry point. Errors of our tree become one clear line on stderr and their exit code."""
    try:
        command(prog_name="streamapp")
    except StreamError as error:
        click.echo(f"streamapp: {error}", err=True)
        _leave(error.exit_code)
    except SystemExit as error:
        if error.code is not None and not isinstance(error.code, int):
            raise
        _leave(error.code or 0)


def _leave(code: int) -> NoReturn:
    """End with a code.

    The client of the archive's store (obstore) has threads of its own. One that answers late, while the interpreter is
    taken down, asks for what is gone and aborts the process (134). So where it was used nothing is taken down.
    """
    if "obstore" not in sys.modules:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)
