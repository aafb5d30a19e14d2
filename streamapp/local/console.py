"""What a person sees of `streamapp run`: a table that stays in place on a terminal, else a line now and then.

Its numbers are those of the front page, read from `/index.json` of the first worker in a thread of its own.
"""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Collection, Iterable
from types import TracebackType
from typing import Self

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamapp.clock import monotonic_s

ASK_EVERY_S = 1.0
ASK_TIMEOUT_S = 3.0
LINE_EVERY_S = 10.0
DOT = " · "
BILLING = "billing-agg"
NARROW = 100  # columns; below, the least important column is left out
STATES = {"no worker": "starting", "never started": "starting", "running": "running", "rebalancing": "rebalancing"}


class GroupNow(msgspec.Struct):
    """A consumer group, as the front page has it. `lag` is None while Kafka does not tell."""

    group: str
    state: str
    lag: int | None = None
    events_per_s: float = 0.0
    answering_workers: int = 0


class Money(msgspec.Struct):
    """Sums of one currency, as decimal strings."""

    currency: str
    open: str | None = None
    closed_today: str | None = None


class Now(msgspec.Struct):
    """The front page in numbers."""

    groups: list[GroupNow] = []
    money: list[Money] = []
    lag: int | None = None
    events_per_s: float = 0.0
    open_hours: int | None = None
    letters_waiting: int | None = None


class Front:
    """The latest numbers of the front page at `url`; `now` is None before the first answer."""

    def __init__(self, url: str) -> None:
        self.now: Now | None = None
        self._url = url.rstrip("/") + "/index.json"
        # A page of this machine is never behind a proxy of the environment.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="front page", daemon=True)

    def start(self) -> None:
        """Begin to ask once a second."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._ended.set()

    def _ask(self) -> None:
        while not self._ended.wait(ASK_EVERY_S):
            try:
                with self._opener.open(self._url, timeout=ASK_TIMEOUT_S) as answer:
                    self.now = msgspec.json.decode(answer.read(), type=Now)
            except (OSError, msgspec.MsgspecError):
                continue  # the last numbers stay; a worker that cannot go on says so itself


class Screen:
    """Shows the state until it is left. `status` gives one sentence, `incidents` a count."""

    def __init__(
        self,
        console: Console,
        front: Front,
        groups: Collection[str],
        status: Callable[[], str],
        incidents: Callable[[], int],
    ) -> None:
        self._console, self._front, self._groups = console, front, groups
        self._status, self._incidents = status, incidents
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._lined_s = float("-inf")

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def refresh(self) -> None:
        """Draw again; without a terminal, print a line every ten seconds."""
        if self._live is not None:
            shown = picture(self._front.now, self._groups, self._status(), self._incidents(), self._console.width)
            self._live.update(shown, refresh=True)
        elif monotonic_s() - self._lined_s >= LINE_EVERY_S:
            self._lined_s = monotonic_s()
            sums = summary(self._front.now, self._incidents(), lag=False)  # the status says who is behind
            for number, line in enumerate(packed([*self._status().split(DOT), *sums], self._console.width - 2)):
                self._console.print(f"{'  ' if number else ''}{line}", markup=False, highlight=False, soft_wrap=True)


def picture(
    now: Now | None, groups: Collection[str], status: str, incidents: int, width: int = NARROW
) -> RenderableType:
    """The table of groups with the sums below it. Pure."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("consumer group", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("workers", "events/s", "lag")[width < 60 :]:
        table.add_column(name, justify="right", no_wrap=True)
    for one in (each for each in (now.groups if now else ()) if each.group in groups):
        state = STATES.get(one.state, one.state)
        style = "green" if state == "running" else "yellow"
        cells = [str(one.answering_workers), f"{one.events_per_s:,.0f}", "-" if one.lag is None else f"{one.lag:,}"]
        table.add_row(one.group, Text(state, style), *cells[width < 60 :])
    lines = [Text(line) for line in (*packed(summary(now, incidents), width), *packed(status.split(DOT), width))]
    return Group(Text(), table, Text(), *lines)


def packed(parts: Iterable[str], width: int) -> list[str]:
    """The parts on as few lines of at most `width` columns as they need; a part is never broken. Pure."""
    lines: list[str] = []
    for part in filter(None, parts):
        if lines and len(lines[-1]) + len(DOT) + len(part) <= width:
            lines[-1] += DOT + part
        else:
            lines.append(part)
    return lines


def summary(now: Now | None, incidents: int, *, lag: bool = True) -> list[str]:
    """The sums, each as a few words. Pure."""
    if now is None:
        return []
    sums = [f"{_counted(round(now.events_per_s), 'event')}/s"]
    sums += [] if now.lag is None or not lag else [f"lag {now.lag:,}"]
    if all(one.state == "running" for one in now.groups if one.group == BILLING):  # else a part of it is on its way
        billed = [f"{_amount(one.closed_today)} {one.currency}" for one in now.money if one.closed_today]
        sums += [f"billed today {', '.join(billed)}"] if billed else []
        sums += [] if now.open_hours is None else [f"{_counted(now.open_hours, 'bill')} open"]
    if now.letters_waiting is not None:
        causes = f" in {_counted(incidents, 'incident')}" if incidents else ""
        sums.append(f"{_counted(now.letters_waiting, 'dead letter')}{causes}")
        sums += ["the demo sends invalid events on purpose"] if now.letters_waiting else []
    return sums


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _amount(text: str) -> str:
    """With two decimals; the pages have all of them."""
    whole, _, part = text.partition(".")
    return f"{whole}.{part[:2]:0<2}"
