/* The express lane of a partition of metered calls: as lane.h is for usage.
 *
 * A record is plain when counting it changes nothing but the calls of an hour that is open, the watermark and the
 * remembered ids: a plain call of an agent that is at home here, not ahead of its record, below the next mark. Every row
 * of an open hour is in memory, so that a line that is not known is a new one. A line is an account's method, paid in
 * one way. */
#ifndef CALLS_H
#define CALLS_H

#include "lane.h"

typedef struct calls calls_t;

/* What one line counted since it was taken last. `cost` is in units of 10^-12, in two halves. */
typedef struct {
    int64_t hour_ms;
    int64_t line;
    int64_t calls;
    uint64_t cost_low, cost_high;
    int64_t first_offset, last_offset;
} call_sum_t;

calls_t *calls_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms);
void calls_free(calls_t *calls);

/* An hour is open from now on, and its ids expire at `expiry_h`. Returns -1 when too many are. */
int calls_open(calls_t *calls, int64_t hour_ms, uint32_t expiry_h);
void calls_close(calls_t *calls, int64_t hour_ms);

/* Count the records of a payload from `from` to before `until`. Returns the first that is not plain, or `until`; -2
 * without memory. */
int64_t calls_run(calls_t *calls, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until, run_t *run);

/* How many lines have counted something since they were taken; take them, in the order of their first records. */
int64_t calls_touched(const calls_t *calls);
void calls_take(calls_t *calls, call_sum_t *sums);

/* The keys of an hour's lines from number `from` on, each behind its length (a byte pair, the low one first): org, agent,
 * consumer, currency, method, chain, chain id, and the wallets behind a + or, where they are not stated, a -; joined by
 * zero bytes. Returns how many bytes they are; they are written if `keys` is not null. */
size_t calls_keys(const calls_t *calls, int64_t hour_ms, int64_t from, uint8_t *keys);

#endif
