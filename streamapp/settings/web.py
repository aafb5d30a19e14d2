"""The settings of the pages: where they are, and who may ask for them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Mode = Literal["none", "token", "proxy", "jwt"]


class WebSettings(BaseModel):
    """The pages on the worker's own web server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address the worker's web server listens on")
    port: int = Field(6066, ge=0, le=65535, description="Port of the first worker on a host; the next takes port+1, …")
    monitor_host: str = Field("127.0.0.1", description="Address of MONITOR_PORT")
    monitor_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of /metrics and /health alone, which asks nobody for a token; workers count from it as from "
        "PORT, and what is taken is passed over; without it both are on the other ports",
    )
    peer_timeout_seconds: float = Field(1.0, gt=0, description="A worker that answers slower is shown as stale")
    auth: Mode = Field("none", description="Who may ask: none (everybody; on loopback only), token, proxy or jwt")
    origin: str | None = Field(
        None,
        description="Address at which people open the pages, as https://stream.example; without it, the Host asked",
    )
    tokens_file: Path | None = Field(
        None, description="token: file of lines `name role sha256-of-token`; read again when it changes"
    )
    metrics_token_file: Path | None = Field(
        None, description="File with a bearer token that reads /metrics and /health, and nothing else"
    )
    peer_token: SecretStr | None = Field(
        None, description="Secret with which workers sign what they ask each other; needed unless AUTH is none"
    )
    peer_token_file: Path | None = Field(
        None, description="The same from a file; a second line is accepted, too, while the secret changes"
    )
    proxy_secret_file: Path | None = Field(None, description="proxy: file with the secret by which the proxy is known")
    proxy_secret_header: str = Field("X-Stream-Proxy-Secret", description="proxy: header that carries the secret")
    proxy_user_header: str = Field("X-Forwarded-User", description="proxy: header that names the person")
    proxy_groups_header: str = Field("X-Forwarded-Groups", description="proxy: header with the person's groups")
    roles: str = Field(
        "",
        description="proxy, jwt: comma-separated group=role; empty: a group with the name of a role has that role",
    )
    jwt_header: str = Field("Authorization", description="jwt: header that carries the token")
    jwt_keys: str | None = Field(None, description="jwt: file or https URL of the issuer's keys, a JWKS")
    jwt_issuer: str | None = Field(None, description="jwt: the `iss` that a token must have")
    jwt_audience: str | None = Field(None, description="jwt: the `aud` that a token must have")
    jwt_roles_claim: str = Field("roles", description="jwt: the claim that has the person's groups")
    kafka_username: str | None = Field(
        None,
        description="Kafka user of the pages, for what the worker's own may not see: principal stream-pages",
    )
    kafka_password_file: Path | None = Field(None, description="File with that user's password")
    redrive_username: str | None = Field(
        None, description="Kafka user as whom pages send dead letters again and drop them: dead-letter-redriver"
    )
    redrive_password_file: Path | None = Field(None, description="File with that user's password")
