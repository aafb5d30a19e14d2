"""A program that sends events installs a few megabytes: neither Faust nor RocksDB, ClickHouse or aiokafka."""

from __future__ import annotations

import subprocess

import pytest
from bare import bare, packages

# What such a program imports. It must go with the base dependencies of pyproject.toml alone (docs/adr/0052).
# `kafka.producer` has `UsageProducer`, `MeteringProducer` and `AuditProducer`.
LIGHT = ("streamapp.kafka.producer", "streamapp.kafka.bills.reader", "streamapp.settings", "streamapp.schemas.catalog")


def ran(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(bare(code), capture_output=True, text=True, check=False, timeout=60)


def test_what_sends_events_is_imported_with_the_base_dependencies_alone() -> None:
    done = ran("\n".join(f"import {module}" for module in LIGHT))
    assert done.returncode == 0, done.stderr


def test_a_damaged_batch_is_a_clear_error_without_what_fetches_it() -> None:
    done = ran(
        "from confluent_kafka import KafkaError, Message\n"
        "from streamapp.kafka.bills.reader import BillsReader\n"
        "from streamapp.settings import KafkaSettings\n"
        "reader = BillsReader(KafkaSettings(bootstrap_servers='127.0.0.1:1'), position={0: 3})\n"
        "damage = Message(partition=0, offset=3, error=KafkaError(KafkaError._BAD_MSG))\n"
        "reader._pending.poll(lambda: [damage])\n"
        "reader._pending.take(reader._trouble)\n"
    )
    assert "Unreadable: billing_events partition 0 offset 3: the batch cannot be read" in done.stderr
    assert "the package aiokafka is not installed" in done.stderr
    assert "begin behind its last offset" in done.stderr


def test_the_base_is_small_and_what_is_no_part_of_it_is_refused_here() -> None:
    assert len(packages()) < 14, sorted(packages())
    assert not packages() & {"faust-streaming", "aiokafka", "rocksdict", "clickhouse-connect", "pyarrow", "rich"}
    assert "No module named 'aiokafka'" in ran("import streamapp.kafka.groups").stderr


@pytest.mark.parametrize("command", ["verify", "events", "topics", "run"])
def test_a_command_without_what_it_needs_says_what_to_install(command: str) -> None:
    done = ran(f"sys.argv[1:] = ['{command}', '--help']; from streamapp.cli import main; main()")
    assert done.returncode == 78, done.stderr
    assert "is not installed: it belongs to what runs the system" in done.stderr
    assert "`pip install 'hanzo-stream[worker]'`" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_list_of_commands_needs_nothing_of_them() -> None:
    done = ran("sys.argv[1:] = ['--help']; from streamapp.cli import main; main()")
    assert (done.returncode, "dead-letters" in done.stdout) == (0, True), done.stderr
