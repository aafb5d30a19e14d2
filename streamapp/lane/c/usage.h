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

/* Rows may count against budgets (tables/usage/budget.py), which go by numbers from 0 on, and amounts in units of 10^-12, in
 * two halves. A record is not plain that costs as much as is left of its budget or more; while `is_limited`, neither is one
 * of a row that is not known. */
void usage_limited(lane_t *lane, int is_limited);

/* A row counts against a budget. At first nothing is left of one. Returns 1; NOT_THERE when the hour is not open; NO_MEMORY. */
int usage_bind(lane_t *lane, int64_t hour_ms, const uint8_t *key, size_t row_length, int64_t budget);

/* So much is left of a budget. Returns 1, or NO_MEMORY. */
int usage_left(lane_t *lane, int64_t budget, uint64_t low, uint64_t high);

/* Take what a record cost that was counted elsewhere. Returns 0, and takes nothing, when it is all that is left or more. */
int usage_spend(lane_t *lane, int64_t budget, uint64_t low, uint64_t high);

/* How many lines have counted something since they were taken; take them, in the order of their first records. */
int64_t usage_touched(const lane_t *lane);
void usage_take(lane_t *lane, sum_t *sums);

/* The key of a line; returns its length, 0 when there is no such line. */
size_t usage_key(const lane_t *lane, int64_t hour_ms, int64_t line, const uint8_t **key);

#endif
