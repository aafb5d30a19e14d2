"""billing-ledger: billing_events → the ledger of bills and settlements, in SQLite, or PostgreSQL by STREAM_LEDGER_URL.

Each chunk of statements is one database transaction, with the offset behind it.

faust -A streamapp.agents.billing_ledger worker -l info
"""

from __future__ import annotations

from streamapp.agents.worker import worker

app, agent = worker(sink="kept")
