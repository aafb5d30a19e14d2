"""A lock file is held by one process at a time, and let go with its descriptor."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamapp.processes.lock import take


def test_a_lock_is_held_once_until_it_is_let_go(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "folder" / "lock"
    held = take(file)
    assert held is not None
    assert take(file) is None
    os.close(held)
    again = take(file)
    assert again is not None
    os.close(again)


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        take(tmp_path / "file" / "folder" / "lock")
