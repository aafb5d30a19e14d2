"""Histories of a real cluster worth keeping: what the model of `test_broker_model.py` found, made shorter, and what
people think of first. Each costs a cluster of its own: keep few.
"""

from __future__ import annotations

from lives import History

LIVES: dict[str, History] = {
    "counted, killed and put back, then the same again with other bytes while the broker dies": [
        ("produce", {"minutes": 130, "late_minutes": 45}),
        ("kill", {}),
        ("reset", {"back": 1000}),
        ("again", {"count": 30, "conflicting": True}),
        ("bounce", {}),
    ],
}
