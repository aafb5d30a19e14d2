"""The directory file, read as a whole."""

from __future__ import annotations

import tomllib
from pathlib import Path

from streamapp.errors import Misconfigured


def read_directory(path: Path | None) -> dict[str, str]:
    """team → org of the directory file; empty without one. Raises `Misconfigured` for a file that cannot be used."""
    if path is None:
        return {}
    try:
        teams = tomllib.loads(path.read_text(encoding="utf-8")).get("teams", {})
        return {team: str(entry["org"]) for team, entry in teams.items() if "org" in entry}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Misconfigured(f"STREAM_DIRECTORY={path} cannot be used: {error}") from None
