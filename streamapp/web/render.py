"""From a page's facts to an HTTP answer: HTML or its JSON twin, with the headers every answer has."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import CodeType
from typing import Any

from aiohttp import web
from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup

from streamapp.clock import Clock
from streamapp.web import show, static
from streamapp.web.workers import wire

COMPRESS_FROM = 4096
_AMOUNT = re.compile(r"-[0-9]+\.[0-9]+")


@dataclass(frozen=True, slots=True)
class Page:
    """What a page builder hands back: one set of facts for people (`context`) and for machines (`twin`). A twin that is
    dear to make is a function: only who asks for JSON pays for it."""

    template: str
    title: str
    context: dict[str, Any]
    twin: Any
    status: int = 200
    place: str = ""  # which entry of the navigation is current
    headers: dict[str, str] = field(default_factory=dict)
    rows: Sequence[dict[str, Any]] = ()  # what is listed, as a table: `csv_table`
    is_small: bool = False  # its twin: a thread would take longer to begin than the twin to be made


class Compiled(BytecodeCache):
    """What the templates were compiled to, for every renderer of this process: to compile one takes a hundred times as
    long as to render it."""

    def __init__(self) -> None:
        self.codes: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self.codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.codes[bucket.key, bucket.checksum] = bucket.code


COMPILED = Compiled()


class Renderer:
    """Templates and headers. Rendering is pure and safe in a thread. `places`: what the head links to. `by_name`:
    whoever asks has a name."""

    def __init__(
        self, clock: Clock, files: static.Files, places: Sequence[tuple[str, str, str]], by_name: bool = False
    ) -> None:
        self._clock = clock
        self._env = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            bytecode_cache=COMPILED,
        )
        self._env.globals.update(show=show, static=files.url, exact=show.exact, utc_day=utc_day, minor=_key_text)
        self._env.globals.update(places=places, by_name=by_name)
        self._env.globals.update(moment_data=moment_data, aligned_money_data=aligned_money_data)
        self._env.filters["money_data"] = money_data
        for name, parts in (("ui", "parts.html"), ("drawn", "charts_parts.html"), ("ev", "events_parts.html")):
            self._env.globals[name] = self._env.get_template(parts).module

    def html(self, page: Page, path: str) -> str:
        """The whole page. `path` is where it lives: its live updates and its twin hang on it."""
        return self._env.get_template(page.template).render(self._context(page, path))

    def live(self, page: Page, path: str) -> dict[str, str]:
        """The changing parts, by element id. What only the passing of time changes looks the same each time."""
        template, base = self._env.get_template(page.template), self._env.get_template("base.html")
        blocks = {**base.blocks, **template.blocks}
        context = template.new_context(self._context(page, path))
        return {
            name.replace("_", "-"): "".join(block(context)).strip()
            for name, block in blocks.items()
            if name.startswith("live_")
        }

    def answer(self, page: Page, path: str) -> web.Response:
        """The HTML answer."""
        response = web.Response(text=self.html(page, path), status=page.status, content_type="text/html")
        return _with_headers(response, page.headers)

    def _context(self, page: Page, path: str) -> dict[str, Any]:
        return {
            "title": page.title,
            "place": page.place,
            "path": path,
            "twin_url": twin_url(path),
            "now_ms": self._clock(),
            "live_status": 200,
            **page.context,
        }


def twin(page: Page) -> web.Response:
    """The JSON answer."""
    response = web.Response(
        body=wire.json_bytes(page.twin() if callable(page.twin) else page.twin),
        status=page.status,
        content_type="application/json",
    )
    return _with_headers(response, page.headers)


def csv_table(page: Page, name: str) -> web.Response:
    """What the page lists, as CSV (RFC 4180): money with 12 decimals, moments as RFC 3339."""
    rows = [wire.plain(row) for row in page.rows]
    text = io.StringIO(newline="")
    if rows:
        table = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\r\n")
        table.writeheader()
        table.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return _with_headers(web.Response(text=text.getvalue(), content_type="text/csv"), headers)


def _cell(value: Any) -> Any:
    """A spreadsheet must not take a name for a formula."""
    risky = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if risky and _AMOUNT.fullmatch(value) is None else value


def _with_headers(response: web.Response, extra: dict[str, str]) -> web.Response:
    response.headers["Vary"] = "Accept, Accept-Encoding"
    response.headers.update(extra)
    if isinstance(response.body, bytes) and len(response.body) > COMPRESS_FROM:
        response.enable_compression()
    return response


def twin_url(path: str) -> str:
    """/usage?sort=cost → /usage.json?sort=cost"""
    before, mark, query = path.partition("?")
    return ("/index" if before == "/" else before) + ".json" + mark + query


def wants_json(accept: str) -> bool:
    """True when JSON is asked for more than HTML (RFC 9110, 12.5.1)."""
    weights = {"application/json": 0.0, "text/html": 0.0}
    for part in accept.split(","):
        name, *options = (item.strip().lower() for item in part.split(";"))
        weight = 1.0
        for option in options:
            if option.startswith("q="):
                try:
                    weight = float(option[2:])
                except ValueError:
                    weight = 0.0
        if name in weights:
            weights[name] = max(weights[name], weight)
    return weights["application/json"] > weights["text/html"]


def money_data(amount: Decimal, currency: str) -> Markup:
    """A money cell: short to read, exact on hover and for copying."""
    return Markup('<data class="money" value="{0}" title="{0} {2}">{1}</data>').format(
        show.exact(amount), show.money(amount, currency), show.visible(currency)
    )


def moment_data(at_ms: int | None, text: str | None = None) -> Markup:
    """A moment: short to read, exact on hover; a dash where there is none."""
    if at_ms is None:
        return Markup('<span class="muted">–</span>')
    exact = show.rfc3339(at_ms)
    return _MOMENT % (exact, exact, text or show.day_clock(at_ms))


def aligned_money_data(amount: Decimal, currency: str) -> Markup:
    """Money in a column: the point stands below the point. Six decimals at a glance, all twelve on hover."""
    exact, (head, rest), unit = show.exact(amount), show.column_money(amount, currency), show.visible(currency)
    return _ALIGNED % (exact, exact, unit, head, rest, "" if currency in show.SIGNS else _UNIT % unit)


_MOMENT = Markup('<time datetime="%s" title="%s">%s</time>')
_ALIGNED = Markup(
    '<data class="money aligned" value="%s" title="%s %s"><span>%s</span><span class="rest">%s</span>%s</data>'
)
_UNIT = Markup(' <span class="unit">%s</span>')


def utc_day(at_ms: int) -> str:
    """2025-01-15T10:00 for a datetime-local input."""
    return show.rfc3339(at_ms)[:16]


def _key_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))


def fingerprint(text: str) -> bytes:
    """Tells whether a rendered part changed."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).digest()
