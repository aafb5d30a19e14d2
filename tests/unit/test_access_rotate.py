"""How a password is rotated: every state of the files, wherever it was interrupted, and when the old one may go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamapp.access import rotate
from streamapp.access.passwords import SINCE, accept, accepted, holds, line_of, noted, replace, salt_of
from streamapp.access.rotate import Places, State, demand_unused, finish, look, to_finish, to_rotate
from streamapp.cli import command
from streamapp.errors import Misconfigured, Refused, Unavailable

USER = "llm-gateway"
HOUR_MS = 3_600_000


class Files:
    """The files of one user, below a folder; `new` makes password-1, password-2 …"""

    def __init__(self, folder: Path) -> None:
        for name in ("users", "used", "secrets"):
            (folder / name).mkdir()
        self.places = Places(folder / "users", folder / "secrets" / USER, (folder / "used",))
        self.made = 0

    @property
    def state(self) -> State:
        return look(USER, self.places)

    def new(self) -> str:
        self.made += 1
        return f"password-{self.made}"

    def accepts(self) -> list[str]:
        names = [f"password-{number}" for number in range(1, self.made + 1)]
        return [name for line in accepted(self.places.users, USER) for name in names if holds(line, name)]

    def rotate(self) -> None:
        def accepted_before_it_is_told(password: str) -> None:
            assert self.accepts()[-1] == password
            assert not self.places.secret.exists() or self.places.secret.read_text() != password

        rotate.rotate(self.state, self.places, self.new, accepted_before_it_is_told)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_the_first_the_next_and_the_end(files: Files) -> None:
    files.rotate()
    assert (files.accepts(), files.places.secret.read_text()) == (["password-1"], "password-1")
    assert files.places.secret.stat().st_mode & 0o777 == 0o600
    assert not to_finish(files.state, files.places)
    files.rotate()
    for _ in range(2):  # once more changes nothing
        assert (files.accepts(), files.places.secret.read_text()) == (["password-1", "password-2"], "password-2")
        files.rotate()
    assert files.state.is_between
    for _ in range(2):
        finish(files.state, files.places)
        assert files.accepts() == ["password-2"]


def test_who_was_locked_out_comes_back_with_another_password(files: Files) -> None:
    files.rotate()
    (files.places.users / USER).unlink()
    files.rotate()
    assert (files.accepts(), files.places.secret.read_text()) == (["password-2"], "password-2")


def test_a_rotation_that_was_interrupted_goes_on(files: Files) -> None:
    files.rotate()

    def away(password: str) -> None:
        raise Unavailable("the brokers do not accept it")

    with pytest.raises(Unavailable):
        rotate.rotate(files.state, files.places, files.new, away)
    assert (files.accepts(), files.places.secret.read_text()) == (["password-1", "password-2"], "password-1")
    with pytest.raises(Refused, match="rotate without --finish first"):
        to_finish(files.state, files.places)
    files.rotate()
    assert (files.accepts(), files.places.secret.read_text()) == (["password-1", "password-3"], "password-3")


def test_files_that_do_not_belong_together_are_left_alone(files: Files) -> None:
    files.rotate()
    files.places.secret.write_text("another")
    with pytest.raises(Refused, match="holds no password that"):
        to_rotate(files.state, files.places)
    files.places.secret.unlink()
    files.rotate()  # a lost password: who has it, may use it until the end
    assert files.accepts() == ["password-1", "password-2"]
    files.places.secret.unlink()
    with pytest.raises(Refused, match="is not there, so nobody knows which"):
        files.rotate()
    (files.places.users / USER).write_text("password-1\n")
    with pytest.raises(Misconfigured, match="no file of accepted passwords"):
        look(USER, files.places)
    with pytest.raises(Refused, match="cannot be a user"):
        look("../llm-gateway", files.places)


def test_no_password_is_in_what_is_told(files: Files) -> None:
    files.rotate()
    files.rotate()
    told = f"{files.state!r}{to_rotate(files.state, files.places)}{to_finish(files.state, files.places)}"
    assert "password-" not in told
    assert [salt_of(line) for line in files.state.lines] != [salt_of(line_of("x"))] * 2


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o640)
    replace(file, "new", 0o600)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o640)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def judge(files: Files, now_ms: int, lifetime_ms: int = HOUR_MS, brokers: int = 1, **before: int) -> None:
    """Ask whether the old password may go, `now_ms` after the broker began to note."""
    old, new = map(salt_of, files.state.lines)
    notes = {SINCE: 0, **{{"old": old, "new": new}[name]: at for name, at in before.items()}}
    file = files.places.used[0] / USER

    def log_in() -> int:
        file.write_text("".join(f"{about} {at}\n" for about, at in {**notes, new: now_ms}.items()))
        return brokers

    file.write_text("".join(f"{about} {at}\n" for about, at in notes.items()))
    demand_unused(files.state, files.places, log_in, lifetime_ms)
    assert noted(files.places.used[0], USER)[new] == now_ms


def test_the_old_password_stays_as_long_as_a_session_may_live(files: Files) -> None:
    files.rotate()
    files.rotate()
    judge(files, 3 * HOUR_MS, old=HOUR_MS, new=2 * HOUR_MS)
    with pytest.raises(Refused, match=r"llm-gateway logged in with the old password 1800 s ago .* try again in 1802 s"):
        judge(files, 2 * HOUR_MS, old=HOUR_MS * 3 // 2)
    with pytest.raises(Refused, match=r"more than 600 s ago, if at all"):
        judge(files, 600_000, new=1)
    with pytest.raises(Misconfigured, match=r"connections\.max\.reauth\.ms is 0"):
        judge(files, 2 * HOUR_MS, 0)
    with pytest.raises(Misconfigured, match="2 brokers let llm-gateway in, and 1 of 1 folders"):
        judge(files, 2 * HOUR_MS, brokers=2)
    with pytest.raises(Misconfigured, match="0 of 1 folders"):  # its note does not change: it is another broker's
        judge(files, 7, new=7)


def test_a_broker_takes_two_passwords_at_most(files: Files) -> None:
    with pytest.raises(Refused, match="would have 3 passwords"):
        accept(files.places.users, USER, *map(line_of, "abc"))
    assert line_of("same") != line_of("same")


def test_the_command_says_what_it_would_do_and_asks_nobody_for_it(files: Files, tmp_path: Path) -> None:
    def run(*words: str) -> Result:
        return CliRunner().invoke(command, ["access", "rotate", *words])

    here = ("--dir", str(tmp_path), "--dry-run")
    planned = run(USER, *here)
    assert planned.output.splitlines() == [
        f"+ {USER} may log in with a new password: {files.places.users / USER}",
        f"~ {USER} reads the new one: {files.places.secret}",
        "2 changes to do",
    ]
    assert json.loads(run(USER, *here, "--finish", "--json").output) == {"changes": [], "done": False}
    assert not [*files.places.users.iterdir()]
    assert "is no principal of ours" in str(run("somebody", *here).exception)
    assert "say where the passwords are" in run(USER).output
    assert "--now goes with --finish" in run(USER, *here, "--now").output
