"""The team directory as a file of two indexes, made by a process of its own: a directory of a million teams takes
gigabytes and half a minute to parse, and none of that may happen in a worker.

    python -m streamapp.directory.index TOML INDEX [DIGEST]

Exit code 0: INDEX is there, the digest of TOML is on standard output. 3: the file still has DIGEST; nothing is made.
2: the file cannot be used, and standard output says why.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import sys
import tomllib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

UNUSABLE, SAME = 2, 3

_TABLE = re.compile(r'\[teams\.(?:([A-Za-z0-9_-]+)|"([^"\\\x00-\x1f]+)")\]\s*')
_TEXT = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*"([^"\\\x00-\x1f]*)"\s*')
_TEXTS = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*\[\s*((?:"[^"\\\x00-\x1f]*"\s*(?:,\s*)?)*)\]\s*')
_NUMBER = re.compile(r"([A-Za-z0-9_-]+)\s*=\s*(0|[1-9]\d*|(?:0|[1-9]\d*)\.\d+)\s*")
_BLOCK = re.compile(
    r'\[teams\.([A-Za-z0-9_-]+)\]\norg = "([^"\\\x00-\x1f]+)"\n'
    r'(?:tokens = \["([^"\\\x00-\x1f]*)"\]\n)?\n*(?=\[teams\.|\Z)'
)
_AMOUNT = re.compile(r"(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,12})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z0-9]{1,16}", re.ASCII)  # as llm_usage has them
_AMOUNTS = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*\{\s*((?:[A-Za-z0-9_-]+\s*=\s*"[^"\\\x00-\x1f]*"\s*(?:,\s*)?)*)\}\s*')
_PAIR = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*"([^"]*)"\s*(,?)\s*')
_QUOTED = re.compile(r'"([^"]*)"\s*(,?)\s*')


class Team(NamedTuple):
    """What the directory says of a team."""

    name: str
    org: str
    tokens: list[str]
    quota: float | None
    limits: tuple[TeamLimit, ...] = ()


class TeamLimit(NamedTuple):
    """What a team may spend in a month. `amount` is a decimal, as text."""

    kind: str
    amount: str
    currency: str


class _NotPlain(Exception):
    """The file uses more of TOML than the reader of lines knows."""


def teams_of(document: Any) -> Iterator[Team]:
    """The teams of a parsed file. Raises ValueError."""
    teams = document.get("teams", {})
    if not isinstance(teams, dict):
        raise ValueError("[teams] is not a table")
    for name, facts in teams.items():
        yield team_of(name, facts)


def team_of(name: str, facts: Any) -> Team:
    """One team. Raises ValueError."""
    org = facts.get("org") if isinstance(facts, dict) else None
    if not isinstance(org, str) or not org:
        raise ValueError(f'[teams.{name}] needs org = "…"')
    tokens = facts.get("tokens", [])
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError(f"[teams.{name}] tokens is not a list of strings")
    quota = facts.get("quota_per_second")
    number = isinstance(quota, int | float) and not isinstance(quota, bool)
    if quota is not None and not (number and 0 <= quota < float("inf")):
        raise ValueError(f"[teams.{name}] quota_per_second is not a number from 0 on")
    return Team(name, org, tokens, None if quota is None else float(quota), tuple(_limits(name, facts)))


def _limits(name: str, facts: dict[str, Any]) -> Iterator[TeamLimit]:
    for kind in ("soft", "hard"):
        amounts = facts.get(f"budget_{kind}", {})
        form = f'[teams.{name}] budget_{kind} is not amounts by currency, like {{ USD = "100.50" }}'
        if not isinstance(amounts, dict):
            raise ValueError(form)
        for currency, amount in amounts.items():
            if _CURRENCY.fullmatch(currency) is None:
                raise ValueError(f"{form}: {currency} is not a currency")
            if not isinstance(amount, str) or _AMOUNT.fullmatch(amount) is None or not amount.strip("0."):
                raise ValueError(f"{form}: {amount!r} is not a decimal above 0, as text, of at most 12 decimals")
            yield TeamLimit(kind, amount, currency)


def plain_teams(lines: Iterable[str]) -> Iterator[Team]:
    """The teams of a file in the form that the documentation shows: `[teams.NAME]`, then lines `key = value`.

    Raises `_NotPlain` at the first line of another form; TOML's own parser must decide then.
    """
    name, facts = "", dict[str, Any]()
    for line in lines:
        line = line.strip(" \t\r\n")
        if not line or line[0] == "#":
            continue
        table = _TABLE.fullmatch(line)
        if table is not None:
            if name:
                yield team_of(name, facts)
            name, facts = table[1] or table[2], {}
            continue
        key, value = _pair(line)
        if not name or key in facts:
            raise _NotPlain
        facts[key] = value
    if name:
        yield team_of(name, facts)


def _pair(line: str) -> tuple[str, Any]:
    text = _TEXT.fullmatch(line)
    if text is not None:
        return text[1], text[2]
    texts = _TEXTS.fullmatch(line)
    if texts is not None:
        parts = _QUOTED.findall(texts[2])
        if any(not comma for _, comma in parts[:-1]):
            raise _NotPlain
        return texts[1], [value for value, _ in parts]
    amounts = _AMOUNTS.fullmatch(line)
    if amounts is not None:
        pairs = _PAIR.findall(amounts[2])
        names = {currency for currency, _, _ in pairs}
        if len(names) < len(pairs) or any(bool(comma) == (pair is pairs[-1]) for pair in pairs for comma in pair[2:]):
            raise _NotPlain
        return amounts[1], {currency: amount for currency, amount, _ in pairs}
    number = _NUMBER.fullmatch(line)
    if number is None:
        raise _NotPlain
    return number[1], float(number[2])


def fast_teams(text: str) -> Iterator[Team]:
    """The same of a whole file, in a third of the time where a team is its org, then its tokens or nothing."""
    at, end = 0, len(text)
    while at < end:
        block = _BLOCK.match(text, at)
        if block is not None:
            name, token, tail = block[1], block[3], block.end()
            yield Team(name, block[2], [] if token is None else [token], None)
            at = tail
            continue
        after = text.find("\n[", at + 1)  # one team of another form: line by line
        after = end if after < 0 else after + 1
        yield from plain_teams(text[at:after].split("\n"))
        at = after


def build(source: Path, index: Path) -> None:
    """Make the index of a file. Raises ValueError or OSError for one that cannot be used."""
    text = source.read_text(encoding="utf-8")
    try:
        _write(index, fast_teams(text))
    except (_NotPlain, sqlite3.IntegrityError):  # a team twice: TOML's parser has the words for it
        index.unlink()
        _write(index, teams_of(tomllib.loads(text)))


def _write(index: Path, teams: Iterable[Team]) -> None:
    database = sqlite3.connect(index, isolation_level=None)
    try:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("BEGIN")
        database.execute("CREATE TABLE teams (team TEXT PRIMARY KEY, org TEXT, quota REAL) WITHOUT ROWID")
        database.execute("CREATE TABLE tokens (token TEXT PRIMARY KEY, team TEXT) WITHOUT ROWID")
        database.execute("CREATE TABLE limits (team TEXT, kind TEXT, amount TEXT, currency TEXT)")
        owners: list[tuple[str, str]] = []
        limits: list[tuple[str, str, str, str]] = []

        def rows() -> Iterator[tuple[str, str, float | None]]:
            for team in teams:
                owners.extend((token, team.name) for token in dict.fromkeys(team.tokens))
                limits.extend((team.name, *limit) for limit in team.limits)
                yield team.name, team.org, team.quota

        database.executemany("INSERT INTO teams VALUES (?, ?, ?)", rows())
        owners.sort()
        for (token, team), (other, another) in pairwise(owners):
            if token == other:
                raise ValueError(f"a token of {team} belongs to {another}, too")
        database.executemany("INSERT INTO tokens VALUES (?, ?)", owners)
        database.executemany("INSERT INTO limits VALUES (?, ?, ?, ?)", limits)
        database.execute("CREATE INDEX limits_by_team ON limits (team)")
        database.execute("COMMIT")
    finally:
        database.close()


def make(source: Path, index: Path, known: str | None) -> tuple[int, str]:
    """Make the index, unless the file still has the digest `known`. Returns the exit code and what to say with it."""
    try:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest == known:
            return SAME, ""
        build(source, index)
    except (OSError, ValueError) as error:
        return UNUSABLE, str(error)
    return 0, digest


if __name__ == "__main__":
    code, said = make(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
    sys.stdout.write(said)
    sys.exit(code)
