"""Events on `audit_log` (standard: "Audit Log Event"; decision 17): of any type `<service>.<entity>.<action>`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from streamapp.schemas.envelope import Envelope
from streamapp.schemas.fields import NAME_MAX, Model, Name

AUDIT_EVENT = "audit.event"
"""Names the family in the catalog; no event has this type."""

AUDIT_TYPE = r"^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2,}$"
TEXT_MAX = 8_192  # browsers write user agents of kilobytes, and an audit record is not refused for that

AuditType = Annotated[str, Field(min_length=1, max_length=NAME_MAX, pattern=AUDIT_TYPE)]
Text = Annotated[str, Field(max_length=TEXT_MAX)]


class AuditData(Model):
    """Who did it, and how. Fields that are not named here are kept as they are."""

    user_id: Name
    email: Text | None = None
    method: Text | None = Field(default=None, description="How somebody signed in: `oauth2`.")
    provider: Text | None = None
    ip: Text | None = None
    user_agent: Text | None = None
    application: Text | None = None


class AuditEvent(Envelope):
    """Something that somebody did, of any type `<service>.<entity>.<action>`. The record key is the org."""

    type: AuditType
    data: AuditData
