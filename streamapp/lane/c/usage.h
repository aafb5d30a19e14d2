/* The lane of the usage ledger: one row an org, team, currency and hour, with a line for each provider and model. A row has
 * `names_max` lines of its own, the first ones; any other usage of a full row counts in its line of the others
 * (tables/usage/hourly.py). A record is plain when its row is known, or is new in an hour of which no row can be stored. */
#ifndef USAGE_H
#define USAGE_H

#include "rows.h"

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

/* What a closed row begins with; then come its key, its lines as they are stored, and lines and sums as a bill has them. */
typedef struct {
    uint32_t key_length, lines_length, json_length, totals_length;
    int64_t first_offset, last_offset;
    counts_t totals;
} closed_t;

lane_t *usage_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, int64_t names_max);

/* Count in an hour. `is_stored`: it is stored like that already, whatever the limit. Returns 1; NOT_THERE, and counts
 * nothing, when the hour is not open or the row's cost has more than 38 digits; NO_MEMORY. */
int usage_add(lane_t *lane, const used_t *used, int is_stored);

/* The rows of an hour that closes, back to back, each as `closed_t`. Returns how many bytes, which stay until the next call;
 * NO_MEMORY. */
int64_t usage_closed(lane_t *lane, int64_t hour_ms, const uint8_t **packed);

#endif
