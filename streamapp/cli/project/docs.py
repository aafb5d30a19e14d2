"""`streamapp docs`: the generated part of the documentation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from streamapp.agents.registry import AGENTS
from streamapp.capture.counters import Counters
from streamapp.capture.reading.answers import KINDS
from streamapp.cli.kafka.topics import WORK_TO_DO
from streamapp.cli.lists import LISTS
from streamapp.cli.local.run import INTERRUPTED
from streamapp.cli.project.reference import Handed, first_line, metric_rows, reference
from streamapp.exact.faust.failstop import EX_SOFTWARE
from streamapp.settings import Settings
from streamapp.settings.told import rows
from streamapp.web.routes import Pages
from streamapp.web.sitemap import PAGES

WIDTH = 100
STALE = 1
EXIT_CODES = (
    (0, "done; a check found nothing"),
    (1, "a check found something"),
    (WORK_TO_DO, "wrong usage; `streamapp topics plan`, `access plan`, `cluster plan`: there is work to do"),
    (EX_SOFTWARE, "a worker met an error that nobody foresaw; its log has the traceback"),
    (INTERRUPTED, "`streamapp run` was interrupted before it had verified"),
)


@click.command(name="docs")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/reference.md"),
    show_default=True,
    help="The file to write or check.",
)
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit 1 when the file is stale.")
def command(file: Path, only_check: bool) -> None:
    """Write docs/reference.md from the code: settings, commands, topics, groups, types, metrics, exit codes. A consumer
    group that the Procfile, docker-compose.yml or the runbook does not start or name yet is added there."""
    made = {file: reference(handed())}
    made |= {Path(name): add(Path(name).read_text("utf-8")) for name, add in LISTS.items() if Path(name).exists()}
    for path, text in made.items():
        current = path.exists() and path.read_text(encoding="utf-8") == text
        if only_check and not current:
            click.echo(f"{path} is stale; write it with `make docs`", err=True)
            sys.exit(STALE)
        if not current:
            path.write_text(text, encoding="utf-8")
        click.echo(f"{path} is as the code says")


def handed() -> Handed:
    """Everything the reference tells that is not in its own layer."""
    from streamapp.cli import command as root  # the group imports its commands when they are called

    commands = list(_commands(root, "streamapp"))
    pages = [page for _, _, page in PAGES] + [Pages.statement, Pages.health, Pages.health_live, Pages.metrics]
    settings = rows(Settings.model_construct())  # as they are without any environment
    return Handed(
        settings=[(row.variable, row.default, row.meaning) for row in settings],
        commands=commands,
        agents={group: module for group, module, _ in AGENTS},
        pages=list(dict.fromkeys(first_line(page) for page in pages)),
        answers=[(str(kind.status), kind.slug, kind.meaning) for kind in KINDS],
        capture_metrics=list(metric_rows(_counters().collect())),
        exit_codes=EXIT_CODES,
    )


def _counters() -> Counters:
    counters = Counters(lambda: (0, 0), lambda: 0)
    counters.answered(200, "ok", 0.0)  # a metric with labels shows itself when it has a child
    counters.refused["reason"] += 1
    counters.unreadable["lib"] += 1
    return counters


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=name, terminal_width=WIDTH, help_option_names=["-h", "--help"])
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None, child
            yield from _commands(found, f"{name} {child}")
