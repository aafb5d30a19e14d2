"""The brokers' certificate is for every name that a client is told, as OpenSSL judges it."""

from __future__ import annotations

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from documented import commands
from manifests import PROJECT, one, overlay, with_components

KAFKA = "insights-kafka"
ISSUED = datetime(2026, 1, 1, tzinfo=UTC)
LASTS = timedelta(days=36_500)
HOSTNAME_MISMATCH = 62  # of OpenSSL
PORTS = (9093, 9094)  # of TLS; 9092 is plaintext on the pod's loopback


def told() -> list[str]:
    """Every host of a TLS port that a client or another node is told, of three brokers."""
    found = overlay("three-brokers")
    broker, settings = one(found, "StatefulSet", KAFKA), one(found, "ConfigMap", "stream-settings")["data"]
    (container,) = broker["spec"]["template"]["spec"]["containers"]
    given = {each["name"]: each.get("value", "") for each in container["env"]}
    advertised = given["KAFKA_CFG_ADVERTISED_LISTENERS"]
    lists = [settings["STREAM_KAFKA__BOOTSTRAP_SERVERS"], given["KAFKA_CFG_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS"]]
    lists += [advertised.replace("$(POD_NAME)", f"{KAFKA}-{n}") for n in range(broker["spec"]["replicas"])]
    places = [place.rpartition("//")[2].rpartition(":") for text in lists for place in text.split(",")]
    return sorted({host for host, _, port in places if int(port) in PORTS})


def certificate(names: list[str], file: Path) -> Path:
    """A throw-away certificate with exactly these names, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kafka")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(ISSUED).not_valid_after(ISSUED + LASTS)
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + made.sign(key, SHA256()).public_bytes(Encoding.PEM))
    return file


def accepts(file: Path, host: str) -> bool:
    """Whether a client that asks for this host goes through a TLS 1.3 handshake. No socket is opened."""
    server_side, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=file)
    server_side.load_cert_chain(file)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    try:
        client.do_handshake()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code != HOSTNAME_MISMATCH:
            raise
        return False
    return True


def test_the_certificate_is_for_every_name_that_is_told(tmp_path: Path) -> None:
    rendered = one(with_components(tmp_path / "overlay", "cert-manager"), "Certificate", "kafka-tls")
    file = certificate(rendered["spec"]["dnsNames"], tmp_path / "kafka.pem")
    hosts = told()
    assert len(hosts) == 4  # the service, and three brokers
    assert [host for host in hosts if not accepts(file, host)] == []


def test_the_alert_knows_how_long_a_certificate_lasts(tmp_path: Path) -> None:
    """It computes from the end when the certificate was issued."""
    rendered = one(with_components(tmp_path / "overlay", "cert-manager"), "Certificate", "kafka-tls")
    hours = int(rendered["spec"]["duration"].removesuffix("h"))
    rules = (PROJECT / "deploy" / "prometheus" / "rules.yml").read_text()
    assert f'name="kafka-tls"}}) - {hours // 24} * 86400)' in rules


def test_the_runbooks_command_tells_when_a_certificate_ends(tmp_path: Path) -> None:
    (words,) = commands((PROJECT / "docs" / "runbook.md").read_text(), "openssl")
    file = certificate([KAFKA], tmp_path / "kafka.pem")
    command = ["openssl", *(str(file) if word == "…" else word for word in words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    told_s = ssl.cert_time_to_seconds(done.stdout.strip().removeprefix("notAfter="))
    assert told_s == (ISSUED + LASTS).timestamp()


def test_a_wildcard_of_one_label_is_none(tmp_path: Path) -> None:
    file = certificate([KAFKA, f"*.{KAFKA}"], tmp_path / "kafka.pem")
    assert accepts(file, KAFKA)
    assert not accepts(file, f"{KAFKA}-0.{KAFKA}")
