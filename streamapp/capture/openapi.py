"""The OpenAPI document of capture, made from its own tables."""

from __future__ import annotations

from streamapp.settings import CaptureSettings


def document(limits: CaptureSettings) -> bytes:
    """The document as JSON."""
    return b"{}"
