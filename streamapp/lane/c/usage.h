/* The lane of the usage ledger. A row has `names_max` lines of its own, the first ones; any other usage of a full row counts
 * in its line of the others (tables/usage/hourly.py). A record is plain when its line is known, or is new in an hour of which
 * no row can be stored. */
#ifndef USAGE_H
#define USAGE_H

#include "lane.h"

/* What one line counted since it was taken last. `cost` is in units of 10^-12, in two halves. */
typedef struct {
    int64_t hour_ms;
    int64_t line;
    int64_t requests, errors, cache_hits, prompt_tokens, completion_tokens;
    uint64_t cost_low, cost_high;
    int64_t other_tokens, rounded;
    int64_t first_offset, last_offset;
} sum_t;

lane_t *usage_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, int64_t names_max);

/* The number of a line; `key` is org, team, currency, provider and model, joined by zero bytes; up to `row_length` it is
 * that of the row, with a zero byte at its end. It is made when it is not there, whatever the limit. NOT_THERE when the hour
 * is not open; NO_MEMORY. */
int64_t usage_line(lane_t *lane, int64_t hour_ms, const uint8_t *key, size_t length, size_t row_length);

/* How many lines have counted something since they were taken; take them, in the order of their first records. */
int64_t usage_touched(const lane_t *lane);
void usage_take(lane_t *lane, sum_t *sums);

/* The key of a line; returns its length, 0 when there is no such line. */
size_t usage_key(const lane_t *lane, int64_t hour_ms, int64_t line, const uint8_t **key);

#endif
