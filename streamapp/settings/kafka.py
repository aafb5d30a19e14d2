"""The settings of Kafka: where it is, and how to speak to it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from streamapp.settings.words import host_ports


class KafkaSettings(BaseModel):
    """Where Kafka is and how to speak to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str = Field("127.0.0.1:9092", description="Comma-separated host:port list of brokers")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Kafka's security.protocol (TLS 1.3 only); PLAINTEXT is for loopback and development"
    )
    sasl_username: str | None = Field(None, description="SASL/PLAIN user name; needs SASL_SSL")
    sasl_password: SecretStr | None = Field(None, description="SASL/PLAIN password; in production name a file instead")
    sasl_password_file: Path | None = Field(None, description="File with the SASL/PLAIN password, read at every login")
    allow_plaintext: bool = Field(
        False, description="Whether PLAINTEXT may be used to other hosts (loopback always may)"
    )
    ssl_ca_file: Path | None = Field(None, description="PEM file of the authority that signed the brokers")
    ssl_certificate_file: Path | None = Field(None, description="PEM file of our own certificate, where brokers ask it")
    ssl_key_file: Path | None = Field(None, description="PEM file of its private key")
    ssl_key_password: SecretStr | None = Field(None, description="Password of the private key, if it has one")
    replication_factor: int = Field(1, ge=1, le=7, description="Replicas of topics that provisioning creates")
    delivery_timeout_seconds: float = Field(30.0, gt=0, description="After this an unacknowledged record is an error")
    transaction_timeout_seconds: float = Field(
        60.0, gt=0, description="After this the broker aborts a worker's unfinished transaction"
    )

    _servers = field_validator("bootstrap_servers")(host_ports)

    def variables(self) -> tuple[tuple[str, str], ...]:
        """What is set, as an operator gives it to another process. Passwords by their files only."""
        secrets = {"sasl_password", "ssl_key_password"}
        given = self.model_dump(exclude_none=True, exclude_unset=True, exclude=secrets)
        return tuple((f"STREAM_KAFKA__{name.upper()}", str(value)) for name, value in given.items())
