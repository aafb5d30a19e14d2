"""A service's password changes while it runs: the brokers accept both for a while, then the new one alone.

What is there says how far a rotation is, so that one that was interrupted goes on:

    accepted by the brokers     in the service's file    next
    one                         that one, or no file     a new one beside it, and into the file
    old and new                 the old one              another new one in place of the new one, and into the file
    old and new                 the new one              `finish`: the old one is taken away
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from streamapp.access.passwords import SINCE, accept, accepted, holds, line_of, noted, replace, salt_of
from streamapp.errors import Misconfigured, Refused

NONE_OF_THEM = -1
SECRET_MODE = 0o600
SLACK_MS = 2_000  # a client that watches the file hears of a new password within a second


class Places(NamedTuple):
    """The brokers' folder of users, the file that the service reads its password from, and where each broker notes
    logins."""

    users: Path
    secret: Path
    used: tuple[Path, ...] = ()


class State(NamedTuple):
    """How far a rotation is. `held`: which of `lines` the service's file holds; None without a file. No password is in
    it, so that none can be shown."""

    user: str
    lines: tuple[str, ...]
    held: int | None

    @property
    def is_between(self) -> bool:
        """Both passwords are accepted, and the service reads the new one."""
        return len(self.lines) == 2 and self.held == 1


def look(user: str, places: Places) -> State:
    """Raises `Misconfigured` for files that are not what they must be, `Refused` for a name that is none."""
    lines = accepted(places.users, user)
    try:
        password = places.secret.read_text().strip("\r\n") if places.secret.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{places.secret} cannot be read: {error}") from None
    if password is None:
        return State(user, lines, None)
    return State(user, lines, next((n for n, line in enumerate(lines) if holds(line, password)), NONE_OF_THEM))


def to_rotate(state: State, places: Places) -> tuple[str, ...]:
    """What a rotation changes, for people; nothing where one is under way already. Raises `Refused` where the files
    do not belong together."""
    user, count = state.user, len(state.lines)
    if state.is_between:
        return ()
    if (count and state.held == NONE_OF_THEM) or (count == 2 and state.held is None):
        what = "is not there" if state.held is None else f"holds no password that {places.users / user} accepts"
        raise Refused(
            f"{places.secret} {what}, so nobody knows which password {user} uses: name the right files, or leave one "
            f"line in {places.users / user} and remove {places.secret}"
        )
    how = ("a new password", "a new password beside the old one", "another new password beside the old one")[count]
    return (
        f"+ {user} may log in with {how}: {places.users / user}",
        f"~ {user} reads the new one: {places.secret}",
    )


def rotate(state: State, places: Places, new: Callable[[], str], await_let_in: Callable[[str], object]) -> None:
    """Do it: the brokers first. `await_let_in` returns when every broker accepts the password, and raises when it does
    not come to that; then the service's file is as it was."""
    if not to_rotate(state, places):
        return
    password = new()
    accept(places.users, state.user, *state.lines[:1], line_of(password))
    await_let_in(password)
    replace(places.secret, password, SECRET_MODE)


def to_finish(state: State, places: Places) -> tuple[str, ...]:
    """What the end of a rotation changes, for people; nothing where there is one password. Raises `Refused` while the
    service does not read the new one."""
    if len(state.lines) < 2:
        return ()
    if not state.is_between:
        raise Refused(f"{places.secret} does not hold the new password of {state.user}: rotate without --finish first")
    return (f"- {state.user} may log in with the old password: {places.users / state.user}",)


def finish(state: State, places: Places) -> None:
    """The new password alone from now on."""
    if to_finish(state, places):
        accept(places.users, state.user, state.lines[1])


def demand_unused(state: State, places: Places, log_in: Callable[[], int], lifetime_ms: int) -> None:
    """Raises `Refused` while somebody may be connected with the old password, naming who and where.

    `log_in` logs in to every broker with the new one, and returns how many there are: their notes of it prove that they
    note, and tell their time. A session lives `lifetime_ms` at most, so that whoever is connected has logged in since.
    Raises `Misconfigured` where sessions do not end, or a broker's notes are not there.
    """
    if lifetime_ms <= 0:
        raise Misconfigured(
            "connections.max.reauth.ms is 0: a session never ends, and nobody knows who is still connected with the "
            "old password. Set it at the brokers (3600000 is an hour), or add --now and restart them"
        )
    old, new = map(salt_of, state.lines)
    before = [noted(folder, state.user).get(new) for folder in places.used]
    brokers = log_in()
    notes = {folder / state.user: noted(folder, state.user) for folder in places.used}
    fresh = {file: note for (file, note), was in zip(notes.items(), before, strict=True) if note.get(new) != was}
    if len(fresh) < brokers:
        raise Misconfigured(
            f"{brokers} brokers let {state.user} in, and {len(fresh)} of {len(notes)} folders tell of it: name the "
            "used_dir of every broker with --used, or add --now when you know that nobody uses the old password"
        )
    age_ms, file = min((note[new] - max(note[SINCE], note.get(old, 0)), file) for file, note in fresh.items())
    left_s = -(-(lifetime_ms + SLACK_MS - age_ms) // 1000)
    if left_s > 0:
        ago = f"{age_ms // 1000} s ago" if old in fresh[file] else f"more than {age_ms // 1000} s ago, if at all"
        raise Refused(
            f"{state.user} logged in with the old password {ago} ({file}), and a session lives {lifetime_ms // 1000} "
            f"s: see that each of its processes reads {places.secret}, and try again in {left_s} s. --now takes the "
            "old password away all the same"
        )
