"""A policy of a cluster, as its owner would write it in Java: the class file is put together here, no compiler needed.

class Policy implements CreateTopicPolicy, AlterConfigPolicy
    validate(topic):   a topic whose settings have `FORBIDDEN` is refused; one whose name begins with `SAFE` and
                       that has fewer than 3 replicas, too
    validate(configs): settings that have `FORBIDDEN` are refused
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

NAME = "Policy"
FORBIDDEN = "max.message.bytes"
SAFE = "audit"
REPLICAS_MIN = 3
NO_SETTING = f"{FORBIDDEN} is what the owner of the cluster sets"
MORE_REPLICAS = f"topics of {SAFE} need {REPLICAS_MIN} replicas"
PROPERTIES: Mapping[str, str] = {"create.topic.policy.class.name": NAME, "alter.config.policy.class.name": NAME}

JAVA_5 = 49  # the last version whose methods need no stack maps
PUBLIC, SUPER = 0x0001, 0x0020
ALOAD_0, ALOAD_1, RETURN, ATHROW, DUP, BIPUSH = 0x2A, 0x2B, 0xB1, 0xBF, 0x59, 0x10
LDC, NEW, VIRTUAL, SPECIAL, INTERFACE, IFEQ, IF_ICMPGE = 0x12, 0xBB, 0xB6, 0xB7, 0xB9, 0x99, 0xA2

CREATE, ALTER = (f"org/apache/kafka/server/policy/{name}Policy" for name in ("CreateTopic", "AlterConfig"))
TROUBLE = "org/apache/kafka/common/errors/PolicyViolationException"


class Constants:
    """The constant pool of a class; asking for one puts it there. Entries are numbered from 1."""

    def __init__(self) -> None:
        self._entries: dict[bytes, int] = {}

    def utf8(self, text: str) -> int:
        data = text.encode()
        return self._index(struct.pack(">BH", 1, len(data)) + data)

    def type(self, name: str) -> int:
        return self._index(struct.pack(">BH", 7, self.utf8(name)))

    def text(self, text: str) -> int:
        return self._index(struct.pack(">BH", 8, self.utf8(text)))

    def method(self, owner: str, name: str, shape: str, interface: bool = False) -> int:
        both = self._index(struct.pack(">BHH", 12, self.utf8(name), self.utf8(shape)))
        return self._index(struct.pack(">BHH", 11 if interface else 10, self.type(owner), both))

    def written(self) -> bytes:
        return struct.pack(">H", len(self._entries) + 1) + b"".join(self._entries)

    def _index(self, entry: bytes) -> int:
        return self._entries.setdefault(entry, len(self._entries) + 1)


def op(code: int, operand: int) -> bytes:
    """An instruction with an operand of two bytes."""
    return struct.pack(">BH", code, operand)


def policy_jar(folder: Path) -> Path:
    """A jar with the class."""
    made = folder / "policy.jar"
    with zipfile.ZipFile(made, "w") as jar:
        jar.writestr(f"{NAME}.class", _class())
    return made


def _class() -> bytes:
    pool = Constants()
    call = pool.method
    init = bytes([ALOAD_0]) + op(SPECIAL, call("java/lang/Object", "<init>", "()V")) + bytes([RETURN])
    methods = [
        _method(pool, "<init>", "()V", init),
        _method(pool, "configure", "(Ljava/util/Map;)V", bytes([RETURN])),
        _method(pool, "close", "()V", bytes([RETURN])),
        _validate(pool, CREATE, _no_setting, _more_replicas),
        _validate(pool, ALTER, _no_setting),
    ]
    names = [pool.type(name) for name in (NAME, "java/lang/Object", CREATE, ALTER)]
    body = struct.pack(">HHHHHHH", PUBLIC | SUPER, names[0], names[1], 2, names[2], names[3], 0)
    tail = struct.pack(">H", len(methods)) + b"".join(methods) + struct.pack(">H", 0)
    return struct.pack(">IHH", 0xCAFEBABE, 0, JAVA_5) + pool.written() + body + tail


def _validate(pool: Constants, of: str, *rules: Callable[[Constants, str], bytes]) -> bytes:
    asked = f"{of}$RequestMetadata"
    code = b"".join(rule(pool, asked) for rule in rules) + bytes([RETURN])
    return _method(pool, "validate", f"(L{asked};)V", code)


def _no_setting(pool: Constants, asked: str) -> bytes:
    has = pool.method("java/util/Map", "containsKey", "(Ljava/lang/Object;)Z", interface=True)
    found = op(VIRTUAL, pool.method(asked, "configs", "()Ljava/util/Map;")) + bytes([LDC, pool.text(FORBIDDEN)])
    refuse = _throw(pool, NO_SETTING)
    code = bytes([ALOAD_1]) + found + op(INTERFACE, has) + bytes([2, 0])
    return code + op(IFEQ, 3 + len(refuse)) + refuse


def _more_replicas(pool: Constants, asked: str) -> bytes:
    text, short = "java/lang/String", "java/lang/Short"
    refuse = _throw(pool, MORE_REPLICAS)
    count = op(VIRTUAL, pool.method(asked, "replicationFactor", "()Ljava/lang/Short;"))
    count = (
        bytes([ALOAD_1]) + count + op(VIRTUAL, pool.method(short, "intValue", "()I")) + bytes([BIPUSH, REPLICAS_MIN])
    )
    few = count + op(IF_ICMPGE, 3 + len(refuse)) + refuse
    name = bytes([ALOAD_1]) + op(VIRTUAL, pool.method(asked, "topic", "()Ljava/lang/String;"))
    name += bytes([LDC, pool.text(SAFE)]) + op(VIRTUAL, pool.method(text, "startsWith", "(Ljava/lang/String;)Z"))
    return name + op(IFEQ, 3 + len(few)) + few


def _throw(pool: Constants, why: str) -> bytes:
    made = op(NEW, pool.type(TROUBLE)) + bytes([DUP, LDC, pool.text(why)])
    return made + op(SPECIAL, pool.method(TROUBLE, "<init>", "(Ljava/lang/String;)V")) + bytes([ATHROW])


def _method(pool: Constants, name: str, shape: str, code: bytes) -> bytes:
    attribute = struct.pack(">HHI", 4, 2, len(code)) + code + struct.pack(">HH", 0, 0)  # at most 4 values, 2 variables
    head = struct.pack(">HHHH", PUBLIC, pool.utf8(name), pool.utf8(shape), 1)
    return head + struct.pack(">HI", pool.utf8("Code"), len(attribute)) + attribute
