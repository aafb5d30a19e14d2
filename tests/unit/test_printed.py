"""Tables of commands: nothing is cut, in a terminal of any width and in a pipe."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from streamapp.cli import printed as printed_module
from streamapp.cli.printed import PIPED, bars, print_json, print_table

CLI = Path(printed_module.__file__).parent
LONG = "stream.sink.with.a.name.that.nobody.breaks.and.that.is.longer.than.a.narrow.terminal.has.columns"
ROWS = [
    (
        "evt_01HQ3X7K8M2N4P5R6S7T8U9V0W",
        "2026-11-29T10:00:00.000Z",
        "llm_usage[3]@31617",
        "billing-agg",
        "tokens_mismatch",
    ),
    (LONG, "2026-11-29T10:00:01.000Z", "audit_log[0]@1", "", "[bold]malformed_json[/]"),
]


def printed(width: int, terminal: bool = True, rows: Sequence[tuple[str, ...]] = ROWS) -> list[str]:
    table = Table("id", "refused at", "source", "by", "reason", title="Plan")
    for row in rows:
        table.add_row(*row)
    out = io.StringIO()
    print_table(table, Console(file=out, width=width, force_terminal=terminal, no_color=True, color_system=None))
    return out.getvalue().splitlines()


def cells(rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [cell.removeprefix("[bold]").removesuffix("[/]") for row in rows for cell in row]


@pytest.mark.parametrize("width", [20, 40, 80, 120, 400])
def test_a_terminal_of_any_width_shows_all_of_it(width: int) -> None:
    lines = printed(width)
    assert max(map(len, lines)) <= width
    text = "".join("".join(line.split()) for line in lines)
    for cell in cells(ROWS):
        assert "".join(cell.split()) in text or width == 20, cell
    assert "…" not in text


def test_a_narrow_terminal_shows_rows_one_below_the_other_with_their_heads() -> None:
    assert printed(80, rows=ROWS[:1]) == [
        "Plan",
        "evt_01HQ3X7K8M2N4P5R6S7T8U9V0W",
        "  refused at 2026-11-29T10:00:00.000Z · source llm_usage[3]@31617 · by          ",
        "  billing-agg · reason tokens_mismatch                                          ",
    ]


def test_no_word_is_broken_to_make_a_table_fit() -> None:
    table = Table("topic", "refused by", "reason", "dead letters")
    for _ in range(20):
        table.add_row("audit_log", "audit-archive", "invalid_data", "1")
    table.add_row("events_plugin_ingestion", "analytics-ingest", "conflicting_duplicate", "2")
    out = io.StringIO()
    print_table(table, Console(file=out, width=80, force_terminal=True, no_color=True, color_system=None))
    assert "conflicting_duplicate" in out.getvalue()
    assert "events_plugin_ingestion" in out.getvalue()
    assert "analytics-ingest" in out.getvalue()


def test_a_cell_of_several_lines_is_as_wide_as_the_widest() -> None:
    table = Table("group", "partitions")
    for _ in range(8):
        table.add_row("billing-agg", "llm_usage[0-7]\nllm_usage[8-15]")
    out = io.StringIO()
    print_table(table, Console(file=out, width=40, force_terminal=True, no_color=True, color_system=None))
    assert out.getvalue().splitlines()[-3:-1] == [
        "│ billing-agg │ llm_usage[0-7]  │",
        "│             │ llm_usage[8-15] │",
    ]


def test_no_command_draws_its_own_bars_so_all_are_for_terminals_alone(capfd: pytest.CaptureFixture[str]) -> None:
    assert [path.name for path in CLI.rglob("*.py") if re.search(r"\bProgress\(", path.read_text())] == ["printed.py"]
    with bars(True) as shown:
        shown.update(shown.add_task("sending", total=2), completed=2)
    assert capfd.readouterr() == ("", "")


def test_a_pipe_gets_each_row_as_one_line() -> None:
    lines = printed(PIPED, terminal=False)
    for row in ROWS:
        assert any(all(cell in line for cell in cells([row])) for line in lines), row


def test_json_is_ascii_whatever_a_stranger_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    written = "\x9b\u202e\ud800"
    print_json(written)
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == written
