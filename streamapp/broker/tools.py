"""Kafka's own command line tools, by the names of their scripts, with the login of a client of ours."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TOOLS: tuple[tuple[str, str], ...] = (
    ("kafka-acls", "org.apache.kafka.tools.AclCommand"),
    ("kafka-broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("kafka-configs", "kafka.admin.ConfigCommand"),
    ("kafka-console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("kafka-console-producer", "org.apache.kafka.tools.ConsoleProducer"),
    ("kafka-consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("kafka-delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("kafka-dump-log", "org.apache.kafka.tools.DumpLogSegments"),
    ("kafka-features", "org.apache.kafka.tools.FeatureCommand"),
    ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("kafka-groups", "org.apache.kafka.tools.GroupsCommand"),
    ("kafka-leader-election", "org.apache.kafka.tools.LeaderElectionCommand"),
    ("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    ("kafka-metadata-quorum", "org.apache.kafka.tools.MetadataQuorumCommand"),
    ("kafka-reassign-partitions", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"),
    ("kafka-topics", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-transactions", "org.apache.kafka.tools.TransactionsCommand"),
)
"""Script → the Java class that it starts."""

WITHOUT_BROKER = frozenset({"kafka-dump-log"})  # reads files
PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


def properties(client: Mapping[str, Any]) -> dict[str, str]:
    """A client's configuration in librdkafka's names, as Java's clients call it; {} for PLAINTEXT."""
    protocol = client.get("security.protocol", "PLAINTEXT")
    if protocol == "PLAINTEXT":
        return {}
    rows = {"security.protocol": protocol, "ssl.enabled.protocols": "TLSv1.3"}
    if "ssl.ca.location" in client:
        rows |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": client["ssl.ca.location"]}
    if "ssl.certificate.location" in client:
        files = {"ssl.keystore.certificate.chain": "ssl.certificate.location", "ssl.keystore.key": "ssl.key.location"}
        rows |= {"ssl.keystore.type": "PEM"} | {name: Path(client[of]).read_text() for name, of in files.items()}
    if "ssl.key.password" in client:
        rows["ssl.key.password"] = client["ssl.key.password"]
    if "sasl.username" in client:
        login = " ".join(f"{key}={_quoted(client[f'sasl.{key}'])}" for key in ("username", "password"))
        rows |= {"sasl.mechanism": "PLAIN", "sasl.jaas.config": f"{PLAIN_LOGIN} {login};"}
    return rows


def run(command: Sequence[str], client: Mapping[str, Any], arguments: Sequence[str], **how: Any) -> Any:
    """`subprocess.run` of a tool with the address of the broker, its login and these arguments.

    `command` starts the tool's class; `client` is {} for one that asks no broker. The login is in a file that only this
    user may read, and that is gone afterwards. An address or a login among the arguments comes before ours.
    """
    with tempfile.TemporaryDirectory(prefix="streamapp-") as folder:
        own: list[str] = []
        if client and "--bootstrap-server" not in arguments and "--bootstrap-controller" not in arguments:
            own += ["--bootstrap-server", client["bootstrap.servers"]]
        if (rows := properties(client)) and "--command-config" not in arguments:
            file = Path(folder) / "client.properties"
            write_private(file, rows)
            own += ["--command-config", str(file)]
        return subprocess.run([*command, *own, *arguments], check=False, **how)


def write_private(file: Path, rows: Mapping[str, str]) -> None:
    """A file of Java's properties that only this user may read."""
    file.touch(0o600)
    file.write_text("".join(f"{name}={_escaped(value)}\n" for name, value in rows.items()))


def _quoted(value: str) -> str:
    """As JAAS takes it."""
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _escaped(value: str) -> str:
    """As a file of Java's properties takes it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n\\\n")
