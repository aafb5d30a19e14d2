"""What the standard has against a name of a topic or a consumer group."""

from __future__ import annotations

import re

from streamapp.topics.registry import SCHEMA_TOPIC, changelog

_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SEPARATOR = re.compile(r"[-_.]")
_ENVIRONMENTS = frozenset({"prod", "production", "stg", "staging", "dev", "development", "test", "qa"})
_VERSION_OR_INSTANCE = re.compile(r"v?\d+")


def event_topic_name_problem(name: str) -> str | None:
    """What the standard has against this name of an event topic, in one sentence, or None."""
    problems = []
    if not _SNAKE.fullmatch(name):
        problems.append("is not snake_case")
    if _SEPARATOR.split(name)[0].lower() in _ENVIRONMENTS:
        problems.append("starts with an environment, and environments are separate clusters")
    return f"{name} {' and '.join(problems)}" if problems else None


def topic_name_problem(name: str, groups: frozenset[str]) -> str | None:
    """The same for any topic: one that ends as an internal topic does must be named as one."""
    if name == SCHEMA_TOPIC:
        return None
    if name.endswith("-changelog"):
        return internal_topic_name_problem(name, groups)
    return event_topic_name_problem(name)


def internal_topic_name_problem(name: str, groups: frozenset[str]) -> str | None:
    """The same for an internal topic: `<group>-<table>-changelog`, the group one of `groups`, the table snake_case."""
    for owner in groups:
        table = name.removeprefix(f"{owner}-").removesuffix("-changelog")
        if name == changelog(owner, table) and _SNAKE.fullmatch(table):
            return None
    return f"{name} is not <group>-<table>-changelog of a registered group"


def group_name_problem(name: str) -> str | None:
    """The same for a consumer group: <function>-<action>, kebab-case, no version, no instance."""
    if not _KEBAB.fullmatch(name) or "-" not in name:
        return f"{name} is not kebab-case <function>-<action>"
    if any(_VERSION_OR_INSTANCE.fullmatch(part) for part in name.split("-")):
        return f"{name} carries a version or an instance"
    return None
