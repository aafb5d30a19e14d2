"""The client libraries that a metric tells apart. All other names are one label value, so labels are bounded."""

from __future__ import annotations

from typing import Any

NONE, OTHER = "none", "other"
LIBRARIES = frozenset(
    {
        *("web", "js", "posthog-android", "posthog-dotnet", "posthog-elixir", "posthog-flutter", "posthog-go"),
        *("posthog-ios", "posthog-java", "posthog-js-lite", "posthog-node", "posthog-php", "posthog-python"),
        *("posthog-react-native", "posthog-ruby", "posthog-rs", "posthog-rust", "posthog-server", "posthog-unity"),
    }
)


def library(said: Any) -> str:
    """`$lib` of an event as a label."""
    if said is None:
        return NONE
    return said if type(said) is str and said in LIBRARIES else OTHER
