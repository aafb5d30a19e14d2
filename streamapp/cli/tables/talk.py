"""What a command that changes much says and asks on the way."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from streamapp.cli.printed import bars, counted

dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; needs --yes or --dry-run.")


def demand_silence(as_json: bool, yes: bool, dry_run: bool) -> None:
    """Raises `UsageError` for JSON beside a question."""
    if as_json and not (yes or dry_run):
        raise click.UsageError("--json asks no questions: add --yes or --dry-run")


class Talk:
    """What is said and asked on the way."""

    def __init__(self, console: Console, dry_run: bool, yes: bool) -> None:
        self.console = console
        self.dry_run = dry_run
        self.yes = yes

    def agreed(self, question: str) -> bool:
        """Whether to go on."""
        return not self.dry_run and (self.yes or click.confirm(question))

    def progress(self) -> Progress:
        return bars(not self.console.quiet, percent=True)


def unreadable(count: int) -> str:
    """What is said of records on `dead_letter` that tell nothing, behind a summary; empty where there are none."""
    if not count:
        return ""
    return f"\n{counted(count, 'record')} on dead_letter cannot be read: what they refused is judged anew"


def advance(progress: Progress, task: Any) -> Any:
    """What is told how much more is done."""
    return lambda done: progress.advance(task, done)
