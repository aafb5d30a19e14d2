"""How values look: pure functions from a value to text. Nothing here knows HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal
from functools import reduce
from urllib.parse import quote, urlencode, urlsplit

from streamapp.schemas.values.escaped import escaped

EXACT = Context(prec=60)  # 18 digits before the point, 12 behind, and room for sums; the usual 28 would round
MINUS = "\u2212"
SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}
STATE_SIGNS = {"open": "●", "closed": "✓", "revised": "↻", "pending": "◷", "stale": "⚠", "wrong": "✗", "ok": "✓"}


def exact(amount: Decimal) -> str:
    """Fixed-point with exactly 12 decimals, as money leaves the system everywhere (decision 5)."""
    return f"{amount:.12f}"


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    return reduce(EXACT.add, amounts, Decimal(0))


def money(amount: Decimal, currency: str) -> str:
    """A short readable form: two decimals from 1 up, else as many as show two digits; never an exponent.

    Cut toward zero, so that a cell never shows more than was used.
    """
    size = amount.copy_abs()
    places = 2 if size >= 1 or size == 0 else min(12, max(2, 1 - size.adjusted()))
    whole, _, fraction = exact(size).partition(".")
    digits = f"{int(whole):,}.{fraction[:places]}"
    sign = MINUS if amount < 0 else ""
    symbol = SIGNS.get(currency)
    return f"{sign}{symbol}{digits}" if symbol else f"{sign}{digits}\u00a0{currency}"


def money_parts(amount: Decimal, currency: str) -> tuple[str, str]:
    """The whole exact amount, split into what reads at a glance and the rest of the 12 decimals."""
    whole, _, fraction = exact(amount.copy_abs()).partition(".")
    sign = MINUS if amount < 0 else ""
    symbol = SIGNS.get(currency, "")
    return f"{sign}{symbol}{int(whole):,}.{fraction[:2]}", fraction[2:]


def column_money(amount: Decimal, currency: str) -> tuple[str, str]:
    """For columns: the amount with six decimals, cut toward zero, split behind the second. A point stands below the
    point, as every amount has as many digits behind it."""
    head, rest = money_parts(amount, currency)
    return head, rest[:4]


def breakable(name: str) -> list[str]:
    """A name as it may stand on a page, in pieces: a line may break between them. Behind what separates words in names,
    and never in the middle of a word that fits a line."""
    pieces = re.findall(r"[^-_./:@\[\s]{0,24}[-_./:@\[\s]*", visible(name))
    return [piece for piece in pieces if piece]


def number(value: int) -> str:
    """Grouped in thousands, with a real minus."""
    return f"{value:,}".replace("-", MINUS)


def signed(value: int) -> str:
    """For differences: always with a sign, except zero."""
    return f"+{value:,}" if value > 0 else number(value)


SECONDS_FROM_MS = 10_000


def latency_unit(longest_ms: float) -> str:
    """The one unit of all durations of a figure or a table."""
    return "s" if longest_ms >= SECONDS_FROM_MS else "ms"


def latency(value_ms: float | None, unit: str) -> str:
    """12.3 in seconds, 1,234 in milliseconds; a dash for what was not measured."""
    if value_ms is None:
        return "–"
    return f"{value_ms / 1000:,.1f}" if unit == "s" else f"{round(value_ms):,}"


def percent(part: int, whole: int) -> str:
    """0.25 %, < 0.01 %: with two decimals, so that a column aligns; a dash where there is no whole."""
    if not whole:
        return "–"
    value = part / whole * 100
    return "< 0.01 %" if 0 < value < 0.005 else f"{value:.2f} %"  # what is there is never shown as nothing


def rate(value: float) -> str:
    """Events per second: one decimal below 10, whole above."""
    return f"{value:.1f}" if 0 < value < 9.95 else f"{round(value):,}"


def compact(value: int) -> str:
    """1,234,567 → 1.23M; small numbers stay whole. For places where the exact number stands beside it."""
    for limit, unit in ((1_000_000_000, "B"), (1_000_000, "M"), (10_000, "k")):
        if abs(value) >= limit:
            scaled = value / (1000 if unit == "k" else limit)
            return f"{scaled:.3g}{unit}" if abs(scaled) < 1000 else f"{scaled:,.0f}{unit}"
    return number(value)


def in_utc(text: str) -> datetime:
    """A time as people write it, in UTC when it has no offset. Raises ValueError."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def moment(at_ms: int) -> datetime:
    """UTC. Raises OverflowError or ValueError for times no calendar has."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)


def rfc3339(at_ms: int) -> str:
    """2025-01-15T10:30:00.123Z (decision 3)."""
    return moment(at_ms).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def day_clock(at_ms: int) -> str:
    """Jan 15, 10:30 — minutes, for tables."""
    at = moment(at_ms)
    return f"{at:%b} {at.day}, {at:%H:%M}"


def day_seconds(at_ms: int) -> str:
    """Jan 15, 10:30:05 — for what moves while one looks at it."""
    return f"{day_clock(at_ms)}:{moment(at_ms):%S}"


def clock(at_ms: int) -> str:
    """10:30:05."""
    return f"{moment(at_ms):%H:%M:%S}"


def month_name(month: str) -> str:
    """2025-01 → January 2025; anything else stays as it is."""
    try:
        return f"{datetime.strptime(month, '%Y-%m').replace(tzinfo=UTC):%B %Y}"
    except ValueError:
        return month


def age(from_ms: int, now_ms: int) -> str:
    """How long ago, in the largest fitting unit."""
    seconds = (now_ms - from_ms) // 1000
    return "just now" if seconds < 2 else f"{duration(seconds)} ago"


def duration(seconds: float) -> str:
    """How long, in the largest fitting unit: 45 s, 3 min, 5 h, 13 d."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def short_id(text: str) -> str:
    """The head names the kind, the tail tells ids of one hour apart."""
    return text if len(text) <= 16 else f"{text[:6]}…{text[-7:]}"


def visible(name: str) -> str:
    """A name as it may stand on a page."""
    return escaped(name) or "(empty)"


def visible_lines(text: str) -> str:
    """Text of several lines as it may be shown."""
    return "\n".join(visible(line) if line else "" for line in text.split("\n"))


def linked(path: str, query: Mapping[str, object]) -> str:
    """An address with what of the query is not empty."""
    text = urlencode({name: value for name, value in query.items() if value}, errors="replace")
    return f"{path}?{text}" if text else path


def path_part(name: str) -> str:
    """Any text as one part of a path."""
    return quote(name, safe="", errors="replace")


def _named(path: str, under: str, **names: str) -> str:
    """A page by names: `under` with them, or `path` and a query where a path cannot carry one of them."""
    if {*names.values()} & {"", ".", ".."}:
        return f"{path}?{urlencode(names, errors='replace')}"
    return "/".join((under, *map(path_part, names.values())))


def team_url(org: str, team: str, under: str = "/teams") -> str:
    """The page of a team. Names are any text: parts that a path cannot carry travel in the query."""
    return _named(under, under, org=org, team=team)


def budget_url(org: str, team: str) -> str:
    """The budget of a team, like `team_url`."""
    return team_url(org, team, "/budgets")


def org_url(org: str) -> str:
    """The page of an org, like `team_url`."""
    return _named("/orgs", "/orgs", org=org)


def agent_url(org: str, agent: str) -> str:
    """The meter of an agent, like `team_url`."""
    return _named("/agent", "/agents", org=org, agent=agent)


def worker(name: str, url: str) -> str:
    """A worker as sentences of the pages name it: by its name, with where it answers. Before it has told its name, it
    has only that."""
    return address(url) if name in ("", url) else f"{visible(name)} at {address(url)}"


def address(url: str) -> str:
    """Where a worker answers: what is known of one that left."""
    return visible(urlsplit(url).netloc or url)


def table_url(name: str, group: str = "") -> str:
    """The page of a raw table; `group` where its name alone does not say whose it is."""
    return linked(f"/tables/{path_part(name)}", {"group": group})


def _page_of(kind: str) -> Callable[[str], str]:
    """Name → the address of its page."""
    return lambda name: f"/{kind}/{path_part(name)}"


bill_url = _page_of("bills")
"""The page of a statement, by its id."""

settlement_url = _page_of("settlements")
"""The page of a settlement, by its id."""

letter_url = _page_of("letters")
"""The page of a dead letter, by its id."""

event_url = _page_of("events")
"""The page of an event, by its id or its place in the log."""

group_url = _page_of("groups")
"""The page of a consumer group, by its name."""
