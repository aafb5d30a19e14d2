"""The windowed tables: pure arithmetic over mappings. No clock, no I/O, nothing of the application.

What is the same for all:

window.py           hours, marks, months and the rules of time
outcome.py          records, refusals, positions; what a chunk changed
admission.py        what a record must be before a table looks at it
seen.py             event ids that were counted, and until when they are remembered
fold.py             how every table reads its partition
fast_path.py        what may count plain records in a table's place
counters.py         what is counted; `+` and `-`
cause.py            why dead letters are written, told apart
keyed.py            rows by key and hour, changed by one function, stated if the table says so
unsettled.py        which of these rows are due, and when

usage/              usage by org, team, currency and hour
hourly.py           the row, and what closing it states
ledger.py           a partition of usage: records in; rows, statements and refusals out
open_hours.py       the usage of open hours, and its fast path
budget.py           limits of a month's spending, and crossing them

calls/              metered calls by org, agent, consumer and currency
recount.py          which settlement, open hour or account must have counted which calls
settlement.py       accounts and their calls, and what settling states
open_calls.py       the calls of open hours, and their fast path
ledger.py           a partition of metered calls: records in; rows, settlements and refusals out

latency/            latencies of model calls by minute, hour and model
spread.py           durations in buckets and in the bins of a sketch
tally.py            what is counted about calls of a model
top_models.py       which models are told apart
windows.py          the rows, and when they go
fold.py             a partition of usage: records in; rows out
lane.py             its fast path

letters/            dead letters by cause
incident.py         a cause's life: opened, told, resolved
fold.py             a partition of dead letters: records in; rows and alerts out
"""
