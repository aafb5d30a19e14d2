"""The windowed tables: pure arithmetic over mappings. No clock, no I/O, nothing of the application.

window.py         hours, marks, months and the rules of time
counters.py       what is counted; `+` and `-`
usage_hourly.py   the row of org × team × currency × hour, and what closing it states
seen.py           event ids that were counted, and until when they are remembered
ledger.py         a partition's life: records in; rows, statements and refusals out
spread.py         durations in buckets and in the bins of a sketch
tally.py          what is counted about calls of a model
latency.py        the same records, by minute, hour and model
"""
