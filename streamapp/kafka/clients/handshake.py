"""Whether the brokers and our settings agree on how to speak, asked before a client is made.

A broker that refuses a client's TLS, or speaks none, looks to Kafka's clients like one that is away: they try again for
ever. Here the reason is found and named: the standard's Encryption (TLS 1.3), certificates, the listener's login.
"""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import suppress

from streamapp.errors import Misconfigured
from streamapp.kafka.clients.security import password, ssl_context
from streamapp.settings import KafkaSettings

ANSWER_S = 5.0  # for all brokers together
ANSWER_BYTES_MAX = 1 << 16

MECHANISM = b"PLAIN"
SASL_HANDSHAKE, SASL_AUTHENTICATE = 17, 36  # requests
SASL_AUTHENTICATION_FAILED = 58
UNSUPPORTED_SASL_MECHANISM, ILLEGAL_SASL_STATE = 33, 34  # the second: this listener knows no login
TLS_ALERT = b"\x15\x03"

EXPIRED, NOT_YET_VALID = 10, 9  # OpenSSL's X509_V_ERR_*
OTHER_NAME = (62, 64)
UNKNOWN_AUTHORITY = (18, 19, 20, 21)
OTHER_VERSION = ("TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION")
CERTIFICATE_WANTED = ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE")

PROTOCOL = "STREAM_KAFKA__SECURITY_PROTOCOL"


def demand_agreement(kafka: KafkaSettings) -> None:
    """Greet the brokers. Blocks for `ANSWER_S` at most.

    Raises `Misconfigured` when none of them agrees with the settings and one says why. A broker that is away says
    nothing: whoever asks it next reports that.
    """
    context = None if kafka.security_protocol == "PLAINTEXT" else ssl_context(kafka)
    servers = kafka.bootstrap_servers.split(",")
    refused: Misconfigured | None = None
    for server in servers:
        try:
            _Listener(server.strip(), kafka, context, ANSWER_S / len(servers)).greet()
        except Misconfigured as error:
            refused = refused or error
        except OSError:
            continue
        else:
            return
    if refused is not None:
        raise refused


def disagreement(kafka: KafkaSettings) -> Misconfigured | None:
    """The same as a value, for whoever has another error to report otherwise. Where all agree, the login is tried, too:
    aiokafka reports a wrong password as a broker that does not answer."""
    try:
        demand_agreement(kafka)
        servers = kafka.bootstrap_servers.split(",") if kafka.security_protocol == "SASL_SSL" else []
        for server in servers:
            with suppress(OSError):  # away
                _Listener(server.strip(), kafka, ssl_context(kafka), ANSWER_S / len(servers)).log_in()
                break
    except Misconfigured as error:
        return error
    return None


class _Listener:
    """One `host:port`. Its methods raise `OSError` when it does not answer."""

    def __init__(self, server: str, kafka: KafkaSettings, context: ssl.SSLContext | None, timeout_s: float) -> None:
        host, _, port = server.rpartition(":")
        self._name = f"Kafka at {server}"
        self._address = host.strip("[]"), int(port)
        self._kafka, self._context, self._timeout_s = kafka, context, timeout_s

    def greet(self) -> None:
        """Connect as a client would, and ask whether a login is wanted. Raises `Misconfigured`."""
        try:
            with self._connected(self._context) as connection:
                code, mechanisms = _asked_for_login(connection)
        except ssl.SSLCertVerificationError as error:
            raise Misconfigured(self._about_certificate(error)) from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError, _NotKafka) as error:
            self._other_language(error)
            raise
        except ssl.SSLError as error:
            raise Misconfigured(self._about_tls(error)) from None
        self._judge(code, mechanisms)

    def log_in(self) -> None:
        """Connect as a client would, and log in. Raises `Misconfigured` when we are not let in."""
        user, secret = self._kafka.sasl_username or "", password(self._kafka)
        words = f"\0{user}\0{secret}".encode()
        with self._connected(self._context) as connection:
            _asked_for_login(connection)
            answer = _asked(connection, SASL_AUTHENTICATE, 0, struct.pack(f">i{len(words)}s", len(words), words))
        code, length = struct.unpack_from(">hh", answer, 4)
        if code == SASL_AUTHENTICATION_FAILED:
            told = answer[8 : 8 + max(0, length)].decode(errors="replace")
            raise Misconfigured(
                f"{self._name} does not let us in ({told}); check STREAM_KAFKA__SASL_USERNAME and its password"
            )

    def _connected(self, context: ssl.SSLContext | None) -> socket.socket:
        plain = socket.create_connection(self._address, self._timeout_s)
        if context is None:
            return plain
        try:
            return context.wrap_socket(plain, server_hostname=self._address[0])
        except BaseException:
            plain.close()
            raise

    def _other_language(self, error: Exception) -> None:
        """Raise `Misconfigured` when the listener speaks TLS and we do not, or the other way round."""
        if self._context is not None:
            if self._answers(None):
                raise Misconfigured(
                    f"{self._name} does not speak TLS, and {PROTOCOL} is {self._kafka.security_protocol}: name a "
                    "listener with TLS in STREAM_KAFKA__BOOTSTRAP_SERVERS"
                ) from None
        elif (isinstance(error, _NotKafka) and error.tls) or self._answers(_trusting()):
            raise Misconfigured(
                f"{self._name} speaks TLS, and {PROTOCOL} is PLAINTEXT: set it to SSL or SASL_SSL"
            ) from None
        if isinstance(error, _NotKafka):
            raise Misconfigured(
                f"{self._name} does not answer as Kafka does: is STREAM_KAFKA__BOOTSTRAP_SERVERS right?"
            ) from None

    def _answers(self, context: ssl.SSLContext | None) -> bool:
        try:
            with self._connected(context) as connection:
                _asked_for_login(connection)
        except OSError:
            return False
        return True

    def _judge(self, code: int, mechanisms: str) -> None:
        protocol = self._kafka.security_protocol
        if protocol == "SASL_SSL":
            if code == ILLEGAL_SASL_STATE:
                raise Misconfigured(f"{self._name} knows no login, and {PROTOCOL} is SASL_SSL: set it to SSL")
            if code == UNSUPPORTED_SASL_MECHANISM:
                raise Misconfigured(
                    f"{self._name} offers the login {mechanisms or '(none)'}, not PLAIN: enable PLAIN at the listener "
                    "that STREAM_KAFKA__BOOTSTRAP_SERVERS names"
                )
        elif code in (0, UNSUPPORTED_SASL_MECHANISM):
            advice = "set it to SASL_SSL" if protocol == "SSL" else "name a listener with TLS and set it to SASL_SSL"
            raise Misconfigured(f"{self._name} wants a login, and {PROTOCOL} is {protocol}: {advice}")

    def _about_certificate(self, error: ssl.SSLCertVerificationError) -> str:
        if error.verify_code in OTHER_NAME:
            return (
                f"the certificate of {self._name} is not for that name ({error.verify_message}): "
                "STREAM_KAFKA__BOOTSTRAP_SERVERS must name the broker as its certificate does"
            )
        if error.verify_code in UNKNOWN_AUTHORITY:
            trusted = self._kafka.ssl_ca_file or "not set: the authorities of the system"
            return (
                f"the certificate of {self._name} is signed by an authority that is not trusted here: "
                f"STREAM_KAFKA__SSL_CA_FILE ({trusted}) must be the PEM file of that authority"
            )
        if error.verify_code == EXPIRED:
            return (
                f"the certificate of {self._name} has expired: renew it at the broker, or its authority's in "
                "STREAM_KAFKA__SSL_CA_FILE"
            )
        advice = "check the clock of this host" if error.verify_code == NOT_YET_VALID else "renew it at the broker"
        return f"the certificate of {self._name} is not valid ({error.verify_message}): {advice}"

    def _about_tls(self, error: ssl.SSLError) -> str:
        protocol = self._kafka.security_protocol
        if error.reason in OTHER_VERSION:
            return (
                f"{self._name} does not speak TLS 1.3, which {PROTOCOL}={protocol} demands: set "
                "ssl.enabled.protocols=TLSv1.3 at the broker"
            )
        if error.reason in CERTIFICATE_WANTED:
            return (
                f"{self._name} wants a certificate from its clients: set STREAM_KAFKA__SSL_CERTIFICATE_FILE and "
                "STREAM_KAFKA__SSL_KEY_FILE to one that it trusts"
            )
        return f"{self._name} refuses our TLS 1.3 ({error.reason or error}): check {PROTOCOL} and the broker's log"


class _NotKafka(OSError):
    """What came back is no answer of Kafka's. `tls`: it is an alert of TLS."""

    def __init__(self, tls: bool) -> None:
        super().__init__("not an answer of Kafka's")
        self.tls = tls


def _asked_for_login(connection: socket.socket) -> tuple[int, str]:
    """Kafka's error code for our wish to log in, and the mechanisms that it offers. Nothing secret is sent."""
    answer = _asked(connection, SASL_HANDSHAKE, 1, struct.pack(f">h{len(MECHANISM)}s", len(MECHANISM), MECHANISM))
    names: list[str] = []
    at = 10
    try:
        _, code, count = struct.unpack_from(">ihi", answer)
        while len(names) < count:
            (length,) = struct.unpack_from(">h", answer, at)
            names.append(answer[at + 2 : at + 2 + length].decode("ascii", "replace"))
            at += 2 + length
    except struct.error:
        raise _NotKafka(False) from None
    return code, ", ".join(names)


def _asked(connection: socket.socket, api: int, version: int, body: bytes) -> bytes:
    """The answer to a request, from its correlation id on."""
    client = b"stream-handshake"
    request = struct.pack(f">hhih{len(client)}s", api, version, 0, len(client), client) + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    head = _exactly(connection, 4)
    size = int.from_bytes(head, "big")
    if not 10 <= size <= ANSWER_BYTES_MAX:
        raise _NotKafka(head.startswith(TLS_ALERT))
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionResetError("closed")
        data += piece
    return data


def _trusting() -> ssl.SSLContext:
    """Only to learn whether TLS is spoken at all: nothing is believed and nothing secret is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
