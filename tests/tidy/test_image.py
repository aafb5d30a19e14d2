"""What the Dockerfile makes, without a container engine: all of it can be imported, and it is small."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.image import measure

IMAGE_MAX_MB = 600


@pytest.mark.long
def test_what_is_stripped_from_the_image_is_missed_by_nobody(tmp_path: Path) -> None:
    made = measure(tmp_path)
    print(made)
    assert made["total_mb"] < IMAGE_MAX_MB, made
    assert made["removed_mb"] > 0
