"""What is wrong with a variable's name, or with an address, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from pydantic import BaseModel

NEAR = 0.7  # how alike two names must be for one to be proposed for the other; 1 is the same

# What a service named `stream` or `stream-…` puts into the environment of its neighbours. `STREAM_WEB_PORT` may also be
# a slip for `STREAM_WEB__PORT`: the value of a service's is an address, `tcp://10.0.0.7:80`.
_LINK = re.compile(r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_LINK_PORT = re.compile(r"(.+_)?PORT")
_SERVER = re.compile(r"([^\s:/\[\]@]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")


def variables(tree: type[BaseModel], prefix: str, delimiter: str) -> dict[str, bool]:
    """The variable of every setting and section, in the order of the tree → whether it is a setting."""
    found = {}
    for name, field in tree.model_fields.items():
        variable, inner = prefix + name.upper(), field.annotation
        found[variable] = True
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found[variable] = False
            found |= variables(inner, variable + delimiter, delimiter)
    return found


def unknown(environment: Mapping[str, str], tree: type[BaseModel], prefix: str, delimiter: str) -> dict[str, str]:
    """Variable → sentence, of those that begin as ours do and name no setting: without it the default would be used
    as if nothing had been set. Names are compared as pydantic does, without case."""
    valid = {name.removeprefix(prefix): is_one for name, is_one in variables(tree, prefix, delimiter).items()}
    known = [name for name, is_one in valid.items() if is_one]
    wrong = {}
    for variable, value in sorted(environment.items()):
        name = variable.upper()
        rest = name.removeprefix(prefix)
        if rest == name or rest in valid or _is_service_link(rest, value):
            continue
        near = get_close_matches(rest, known, n=1, cutoff=NEAR)
        hint = f"did you mean {prefix}{near[0]}?" if near else "`streamapp settings` lists all"
        wrong[name] = f"{variable} is not a setting: {hint}"
    return wrong


def host_ports(given: str) -> str:
    """The same, when it is a comma-separated list of host:port. Raises `ValueError` that says what to write."""
    for server in given.split(","):
        if _SERVER.fullmatch(server.strip()) is None:
            host = server.strip().rpartition("://")[2].rstrip("/") or "kafka"
            right = host if _SERVER.fullmatch(host) else f"{host.partition('/')[0].partition(':')[0]}:9092"
            raise ValueError(f"write host:port[,host:port…] without a scheme, as in {right}")
    return given


def _is_service_link(rest: str, value: str) -> bool:
    """Whether Kubernetes or Docker set it, because a service has a name like `stream` or `stream-web`."""
    return _LINK.fullmatch(rest) is not None or (_LINK_PORT.fullmatch(rest) is not None and "://" in value)
