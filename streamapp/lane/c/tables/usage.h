/* The lane of the usage ledger: one row an org, team, currency and hour, with a line for each provider and model. A row has
 * `names_max` lines of its own, the first ones; any other usage of a full row counts in its line of the others
 * (tables/usage/hourly.py). A record is plain when its row is known, or is new in an hour of which no row can be stored.
 *
 * Rows may count against budgets (tables/usage/budget.py), which go by numbers from 0 on. While there are limits, a record is
 * plain only if its row was bound since they were set, and if it costs less than is left of the row's budget. */
#ifndef USAGE_H
#define USAGE_H

#include "tables/rows.h"

/* Numbers of 128 bits, in two halves. */
typedef struct {
    uint64_t low, high;
} wide_t;

/* What a line or a row counts. `cost` is in units of 10^-12. */
typedef struct {
    int64_t requests, errors, cache_hits, rounded;
    wide_t prompt_tokens, completion_tokens, other_tokens, cost;
} counts_t;

/* What is counted by hand: in which row (MessagePack of org, team and currency) and line (of provider and model). */
typedef struct {
    int64_t hour_ms;
    const uint8_t *account, *names;
    size_t account_length, names_length;
    counts_t counts;
    int64_t first_offset, last_offset;
} used_t;

/* What the account behind it has spent in an hour. */
typedef struct {
    wide_t cost;
    uint64_t account_length;
} cost_t;

#define NO_BUDGET (-1)

lane_t *usage_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, int64_t names_max);

/* Count in an hour. `is_stored`: it is stored like that already, whatever the limit. Returns 1; NOT_THERE, and counts
 * nothing, when the hour is not open or the row's cost has more than 38 digits; NO_MEMORY. */
int usage_add(lane_t *lane, const used_t *used, int is_stored);

/* Whether any row may have a budget from now on. No row is bound any more, and nothing is left of any budget. */
void usage_limited(lane_t *lane, int is_limited);

/* A row counts against a budget, or NO_BUDGET. At first nothing is left of one. Returns 1; NOT_THERE when there is no such
 * row; NO_MEMORY. */
int usage_bind(lane_t *lane, int64_t hour_ms, const uint8_t *account, size_t length, int64_t budget);

/* So much is left of a budget, in two halves. Returns 1, or NO_MEMORY. */
int usage_left(lane_t *lane, int64_t budget, uint64_t low, uint64_t high);

/* Take what a record cost that was counted by hand. Returns 0, and takes nothing, when it is all that is left or more. */
int usage_spend(lane_t *lane, int64_t budget, uint64_t low, uint64_t high);

/* What a row costs. Returns 1; NOT_THERE when there is none. */
int usage_cost(const lane_t *lane, int64_t hour_ms, const uint8_t *account, size_t length, wide_t *cost);

/* What each row of an hour costs, back to back: `cost_t`, account. Returns how many bytes, which stay until the next call;
 * NO_MEMORY. */
int64_t usage_costs(lane_t *lane, int64_t hour_ms, const uint8_t **packed);

#endif
