"""`streamapp access rotate`: a service's password changes while it runs."""

from __future__ import annotations

import secrets
from contextlib import nullcontext
from pathlib import Path

import click
from pydantic import SecretStr

from streamapp.access import rotate
from streamapp.access.wanted import principals
from streamapp.broker.jars import held
from streamapp.cli.printed import counted, json_option, print_json
from streamapp.cli.reached import reached
from streamapp.errors import Misconfigured, Refused
from streamapp.kafka.acls import await_let_in, session_ms
from streamapp.kafka.admin import Admin
from streamapp.settings import KafkaSettings

PASSWORD_BYTES = 24
FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@click.command(name="rotate")
@click.argument("service")
@click.option("--finish", "finishes", is_flag=True, help="Take the old password away, unless it is still in use.")
@click.option("--now", is_flag=True, help="With --finish: also while it is in use.")
@click.option(
    "--dir", "folder", type=FOLDER, help="Folder with users/, secrets/ and used/, as `broker start --secure`."
)
@click.option("--users", type=FOLDER, help="The users_dir of the brokers [DIR/users].")
@click.option("--secret", type=click.Path(path_type=Path), help="The file that SERVICE reads [DIR/secrets/SERVICE].")
@click.option("--used", type=FOLDER, multiple=True, help="The used_dir of a broker; may be repeated [DIR/used].")
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@json_option
def rotate_command(
    service: str,
    finishes: bool,
    now: bool,
    folder: Path | None,
    users: Path | None,
    secret: Path | None,
    used: tuple[Path, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Give SERVICE a new password while it runs; then, with --finish, take the old one away.

    The brokers accept both meanwhile (`FileUsers`, see docs/security.md). The new password is made here and is written
    to the service's file only, once every broker accepts it. --finish ends with 1 while somebody may be connected with
    the old one; sessions live as long as connections.max.reauth.ms. Each of both may be run again at any time. Asks
    Kafka as a principal that may read the brokers' settings, such as `reconciler`.
    """
    if now and not finishes:
        raise click.UsageError("--now goes with --finish")
    places = _places(service, folder, users, secret, used)
    try:
        with nullcontext() if dry_run else held(places.users / ".lock"):
            state = rotate.look(service, places)
            if not state.lines and service not in {one.name for one in principals()}:
                raise Refused(f"{service} is no principal of ours and has no file in {places.users}")
            todo = (rotate.to_finish if finishes else rotate.to_rotate)(state, places)
            if todo and not dry_run:
                _do(state, places, finishes, now)
    except OSError as error:
        raise Misconfigured(f"the passwords of {service} cannot be changed here: {error}") from None
    _tell(todo, dry_run, as_json)


def _do(state: rotate.State, places: rotate.Places, finishes: bool, now: bool) -> None:
    kafka = reached().kafka
    if not finishes:
        rotate.rotate(
            state,
            places,
            lambda: secrets.token_urlsafe(PASSWORD_BYTES),
            lambda password: await_let_in(_as(kafka, state.user, password)),
        )
        return
    if not now:
        password = places.secret.read_text().strip("\r\n")
        user = _as(kafka, state.user, password)
        rotate.demand_unused(state, places, lambda: await_let_in(user), session_ms(Admin(kafka)))
    rotate.finish(state, places)


def _as(kafka: KafkaSettings, user: str, password: str) -> KafkaSettings:
    return kafka.model_copy(
        update={"sasl_username": user, "sasl_password": SecretStr(password), "sasl_password_file": None}
    )


def _places(
    service: str, folder: Path | None, users: Path | None, secret: Path | None, used: tuple[Path, ...]
) -> rotate.Places:
    if folder is not None:
        users, secret = users or folder / "users", secret or folder / "secrets" / service
        used = used or (folder / "used",)
    if users is None or secret is None:
        raise click.UsageError("say where the passwords are: --dir, or --users and --secret")
    return rotate.Places(users, secret, used)


def _tell(todo: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({"changes": todo, "done": not dry_run})
        return
    for line in todo:
        click.echo(line)
    click.echo(counted(len(todo), "change") + (" to do" if dry_run else ""))
