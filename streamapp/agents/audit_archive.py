"""audit-archive: audit_log → objects in an S3-compatible store or a folder, each tied to the one before.

Each batch is promised, written under the name of its offsets, and then committed.

faust -A streamapp.agents.audit_archive worker -l info
"""

from __future__ import annotations

from streamapp.agents.worker import worker

app, agent = worker(sink="archive")
