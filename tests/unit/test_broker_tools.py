"""How Kafka's own tools are told where the broker is and who asks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from streamapp.broker.tools import TOOLS, properties, run
from streamapp.cli.local.broker import tool

TEXT: dict[str, Any] = {"capture_output": True, "text": True}
TELL = "import json, sys; file = sys.argv[-1]; print(json.dumps(sys.argv[1:-1])); print(open(file).read())"


def test_a_login_is_in_a_private_file_that_is_gone_afterwards() -> None:
    client = {
        "bootstrap.servers": "kafka:9093",
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "ca.pem",
        "sasl.username": "billing-agg",
        "sasl.password": 'a"b\\c',
    }
    done = run([sys.executable, "-c", TELL], client, [], capture_output=True, text=True)
    told, _, written = done.stdout.partition("\n")
    *address, file_option = json.loads(told)
    assert (address, file_option) == (["--bootstrap-server", "kafka:9093"], "--command-config")
    rows = dict(line.split("=", 1) for line in written.splitlines() if line)
    assert rows["ssl.truststore.location"] == "ca.pem"
    assert rows["ssl.enabled.protocols"] == "TLSv1.3"
    # As Java reads it: backslashes once for the file, once for JAAS.
    assert rows["sasl.jaas.config"].replace("\\\\", "\\").endswith(r'username="billing-agg" password="a\"b\\c";')
    assert 'a"b' not in told, "nothing secret is an argument"


def test_what_was_given_is_not_given_twice() -> None:
    client = {"bootstrap.servers": "kafka:9093", "security.protocol": "SSL"}
    given = ["--bootstrap-server", "other:1", "--command-config", "mine"]
    done = run([sys.executable, "-c", "import sys; print(sys.argv[1:])"], client, given, capture_output=True, text=True)
    assert done.stdout.strip() == str(given)


def test_a_tool_that_reads_files_is_told_of_no_broker() -> None:
    done = run([sys.executable, "-c", "import sys; print(sys.argv[1:])"], {}, ["--files", "0.log"], **TEXT)
    assert done.stdout.strip() == str(["--files", "0.log"])


def test_a_certificate_of_our_own_is_told_in_pem(tmp_path: Path) -> None:
    files: dict[str, Any] = {}
    for kind in ("certificate", "key"):
        files[f"ssl.{kind}.location"] = tmp_path / kind
        (tmp_path / kind).write_text(f"-----BEGIN {kind}-----\nx\n")
    rows = properties({"security.protocol": "SSL", "ssl.key.password": "p", **files})
    assert rows["ssl.keystore.key"].startswith("-----BEGIN key")
    assert rows["ssl.keystore.certificate.chain"].startswith("-----BEGIN certificate")
    assert (rows["ssl.keystore.type"], rows["ssl.key.password"]) == ("PEM", "p")
    assert properties({"security.protocol": "PLAINTEXT"}) == {}


def test_a_mistyped_tool_is_named_and_all_are_listed() -> None:
    assert "did you mean kafka-topics?" in str(CliRunner().invoke(tool, ["kafka-topicz"]).exception)
    listed = CliRunner().invoke(tool, []).stdout
    assert all(name in listed for name, _ in TOOLS)
