"""Writes `tests/golden/scrape.txt` from the processes of a run, in some minutes:
`PYTHONPATH=tests .venv/bin/python tests/broker/record_scrape.py`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from scrape_record import RECORD, told, written
from test_run_twice import scraped_run

if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        scraped_run(Path(folder), lambda server: RECORD.write_text(written(told(server)), encoding="utf-8"))
