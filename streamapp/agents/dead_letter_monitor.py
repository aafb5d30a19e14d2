"""dead-letter-monitor: dead_letter → causes in a table, incidents told to PagerDuty, a webhook and the log.

Each chunk of dead letters is one transaction: counts, incidents, what is to be told, and the offset.

faust -A streamapp.agents.dead_letter_monitor worker -l info
"""

from __future__ import annotations

from streamapp.agents.worker import worker

app, agent = worker(table="letters")
