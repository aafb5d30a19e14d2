"""`streamapp broker`: the embedded Apache Kafka."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from streamapp import settings
from streamapp.broker import tools
from streamapp.broker.broker import archive, classpath, tool_command
from streamapp.broker.exporter import agent
from streamapp.broker.jars import KAFKA_VERSION, jars, kafka_dir, present
from streamapp.broker.quorum import Member
from streamapp.broker.reachable import reachable
from streamapp.broker.train import train
from streamapp.broker.users import compiled
from streamapp.cli.group import Group
from streamapp.cli.local.signals import ended_by_signal
from streamapp.errors import Refused, Unavailable
from streamapp.kafka.clients.security import confluent_config

WATCH_S = 0.5
ANY_PORT = 1  # the agent is fetched, and listens nowhere yet


@click.group(cls=Group, name="broker")
def command() -> None:
    """The embedded Apache Kafka broker: one node on the loopback interface, for development and tests."""


@command.command()
@click.option("--dir", "data_dir", type=click.Path(path_type=Path), help="Data directory [STREAM_BROKER__DIR].")
@click.option("--port", type=click.IntRange(0, 65535), help="Port, 0 for a free one [STREAM_BROKER__PORT].")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Port of its own /metrics, 0: none [STREAM_BROKER__METRICS_PORT].",
)
@click.option(
    "--secure", is_flag=True, help="Require TLS 1.3 and a login (SASL/PLAIN); no user has a right that was not given."
)
@click.option(
    "--node", type=click.IntRange(0), help="Number of a node of a cluster that may grow; needs --controllers."
)
@click.option("--controllers", default="", help="Comma-separated host:port list of its nodes' controllers.")
@click.option("--controller-port", type=click.IntRange(0, 65535), default=0, help="Port of this node's controller.")
@click.option("--cluster-id", default="", help="Of the cluster that an empty node joins; without it, it begins one.")
@click.option(
    "--property", "properties", multiple=True, metavar="NAME=VALUE", help="One of Kafka's settings; again for more."
)
def start(
    data_dir: Path | None,
    port: int | None,
    metrics_port: int | None,
    secure: bool,
    node: int | None,
    controllers: str,
    controller_port: int,
    cluster_id: str,
    properties: tuple[str, ...],
) -> None:
    """Run the broker in the foreground until Ctrl-C or SIGTERM; its data stay.

    With --secure its certificate, its users and their passwords are made below the data directory, in `security`. The
    user `admin` may do everything; what others may do, `streamapp access apply` says. A file in `security/users` lets
    a user in at once.

    With --node it is a node of a cluster that `streamapp cluster grow` enlarges: an empty data directory is formatted
    once, with --standalone, or with --no-initial-controllers where --cluster-id names the cluster.
    """
    if (node is None) != (not controllers):
        raise click.UsageError("--node and --controllers belong together")
    now = settings.current()
    folder = data_dir or now.broker.dir or now.state_dir / "broker"
    number = now.broker.port if port is None else port
    _tell_of_fetching(now.cache_dir)
    flags = agent(now.cache_dir, now.broker.metrics_port if metrics_port is None else metrics_port)
    options: dict[str, Any] = {
        "port": number,
        "controller_port": controller_port,
        "heap_mb": now.broker.heap_mb,
        "jvm_flags": flags,
        "member": None if node is None else Member(node, tuple(controllers.split(",")), not cluster_id, cluster_id),
        "properties": _pairs(properties),
    }
    broker, _, secured = reachable(folder, now.cache_dir, folder / "security" if secure else None, **options)
    broker.start()
    if secured is not None:
        click.echo(secured.told(broker.bootstrap), err=True)
    stop = ended_by_signal()
    try:
        click.echo(broker.bootstrap)
        while not stop.wait(WATCH_S):
            if broker.pid is None:
                raise Unavailable(f"the broker ended by itself; its log: {broker.data_dir}/broker.log")
    finally:
        broker.stop()


def _pairs(properties: Iterable[str]) -> dict[str, str]:
    if wrong := [given for given in properties if "=" not in given]:
        raise click.UsageError(f"--property {wrong[0]} has no value: write NAME=VALUE")
    return dict(given.split("=", 1) for given in properties)


@command.command()
def prepare() -> None:
    """Fetch Apache Kafka and make its start fast, now instead of at first use: for images and build servers."""
    cache_dir = settings.current().cache_dir
    _tell_of_fetching(cache_dir)
    click.echo(f"Apache Kafka {KAFKA_VERSION}: {len(jars(cache_dir))} jars in {kafka_dir(cache_dir)}")
    if not archive(cache_dir, classpath(cache_dir)).exists():
        click.echo("making its start fast (15 s, once) …", err=True)
    click.echo(f"users from a folder: {compiled(cache_dir)}")
    agent(cache_dir, ANY_PORT)  # for `--metrics-port`
    made = train(cache_dir)
    click.echo(f"ahead-of-time cache: {made.name if made else 'could not be made, starts take 3 s'}")


@command.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("name", metavar="TOOL", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def tool(name: str | None, arguments: tuple[str, ...]) -> None:
    """Run one of Kafka's own tools, such as kafka-consumer-groups, with the settings of this environment.

    The address and the login of STREAM_KAFKA__… are added; everything else is the tool's own. Without a name the tools
    are listed.

    \b
      streamapp broker tool kafka-consumer-groups --describe --group billing-agg
      streamapp broker tool kafka-topics --describe --topic llm_usage
    """
    names = dict(tools.TOOLS)
    if name is None or name in ("--help", "-h"):
        click.echo(click.get_current_context().get_help())
        click.echo("\nTools:\n" + "\n".join(f"  {each}" for each in names))
        return
    name = name.removesuffix(".sh")
    main_class = names.get(name)
    if main_class is None:
        near = get_close_matches(name, names, n=1)
        raise Refused(f"{name} is none of Kafka's tools{f'; did you mean {near[0]}?' if near else ''}")
    now = settings.current()
    _tell_of_fetching(now.cache_dir)
    client = {} if name in tools.WITHOUT_BROKER else confluent_config(now.kafka)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the tool, too: it ends, and its login is removed
    sys.exit(tools.run(tool_command(now.cache_dir, main_class), client, arguments).returncode)


def _tell_of_fetching(cache_dir: Path) -> None:
    if not present(cache_dir):
        click.echo(f"fetching Apache Kafka {KAFKA_VERSION} (45 MB, once) …", err=True)
