"""The Secrets of a new cluster that nobody else makes: `python deploy/kubernetes/passwords.py | kubectl apply -f -`.

Each principal gets a password of its own, and `kafka-users` the salted hashes by which the brokers know them. The pages
get one person, an operator and auditor, whose token is told once, on standard error. Run again, it makes others: for a
cluster that lives, see `streamapp access rotate`. A key management system makes this script needless.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from parts.network import users
from parts.processes import in_namespace

from streamapp.access.passwords import line_of
from streamapp.broker.secure import BROKER

BYTES = 24


def made(new: Callable[[], str]) -> Iterator[dict[str, Any]]:
    """A password for each principal, and what the brokers know of all of them. Another team's Secret is there to be
    handed over to it."""
    passwords = {user: new() for user in (*users(), BROKER)}
    for user, password in passwords.items():
        yield secret(f"kafka-{user}", {"password": password})
    yield secret("kafka-users", {user: f"{line_of(password)}\n" for user, password in passwords.items()})


def pages(token: str, peers: str) -> dict[str, Any]:
    """Who may see the pages, and the secret with which workers ask each other."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    return secret("stream-pages", {"tokens": f"operator operator,auditor {digest}\n", "peers": f"{peers}\n"})


def secret(name: str, keys: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": in_namespace(name), "stringData": keys}


def main() -> None:
    """Write them to standard output."""
    token = secrets.token_urlsafe(BYTES)
    documents = [*made(lambda: secrets.token_urlsafe(BYTES)), pages(token, secrets.token_urlsafe(BYTES))]
    yaml.safe_dump_all(documents, sys.stdout, sort_keys=False, explicit_start=True)
    sys.stderr.write(f"the token of the pages: {token}\n")


if __name__ == "__main__":
    main()
