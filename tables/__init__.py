"""The windowed tables: pure arithmetic over mappings. No clock, no I/O, nothing of the application.

window.py         hours, marks, months and the rules of time
counters.py       what is counted; `+` and `-`
usage_hourly.py   the row of org × team × currency × hour, and what closing it states
seen.py           event ids that were counted, and until when they are remembered
fold.py           how every table reads its partition
ledger.py         a partition of usage: records in; rows, statements and refusals out
spread.py         durations in buckets and in the bins of a sketch
tally.py          what is counted about calls of a model
latency.py        the same records, by minute, hour and model
settlement.py     accounts and their calls, and what settling states
rpc_hourly.py     a partition of metered calls: records in; rows, settlements and refusals out
"""
