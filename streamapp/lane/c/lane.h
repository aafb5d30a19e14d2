/* The fast path of one partition: it counts plain records, and stops at the first that is not.
 *
 * A record is plain when counting it changes nothing but one line of an hour that is open, the watermark, and the
 * remembered ids: a plain event of a team that is at home here, not ahead of its record, below the next mark, of a
 * line that is known, or new in an hour of which no row can be stored. A row has `names_max` lines of its own, the first
 * ones; any other usage of a full row counts in its line of the others (tables/usage/hourly.py). A repetition with the same bytes is plain, too.
 * Nothing is done for a record that is not plain: the ledger (tables/usage/ledger.py) does all of it. */
#ifndef LANE_H
#define LANE_H

#include "batch.h"
#include "ids.h"

typedef struct lane lane_t;

/* What one line counted since it was taken last. `cost` is in units of 10^-12, in two halves. */
typedef struct {
    int64_t hour_ms;
    int64_t line;
    int64_t requests, errors, cache_hits, prompt_tokens, completion_tokens;
    uint64_t cost_low, cost_high;
    int64_t other_tokens, rounded;
    int64_t first_offset, last_offset;
} sum_t;

/* What the ledger knows, and what a run changes of it. */
typedef struct {
    int64_t watermark_ms, next_mark_ms; /* in; the watermark also out */
    int64_t duplicates;                 /* out */
} run_t;

lane_t *lane_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, int64_t names_max);
void lane_free(lane_t *lane);

/* An hour is open from now on, and its ids expire at `expiry_h`; `is_new`: no row of it can be stored. Returns -1 when
 * too many hours are open, -2 without memory. */
int lane_open(lane_t *lane, int64_t hour_ms, uint32_t expiry_h, int is_new);

/* It is open no longer. What its lines counted and was not taken goes with them. */
void lane_close(lane_t *lane, int64_t hour_ms);

/* The number of a line; `key` is org, team, currency, provider and model, joined by zero bytes; up to `row_length` it is
 * that of the row, with a zero byte at its end. It is made when it is not there, whatever the limit. Returns -1 for an hour that is not open, -2 without memory. */
int64_t lane_line(lane_t *lane, int64_t hour_ms, const uint8_t *key, size_t length, size_t row_length);

/* Count the records of a payload from `from` to before `until`. Returns the first that is not plain, or `until`; -2
 * without memory. */
int64_t lane_run(lane_t *lane, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until, run_t *run);

/* How many lines have counted something since they were taken; take them, in the order of their first records. */
int64_t lane_touched(const lane_t *lane);
void lane_take(lane_t *lane, sum_t *sums);

/* The key of a line; returns its length, 0 when there is no such line. */
size_t lane_key(const lane_t *lane, int64_t hour_ms, int64_t line, const uint8_t **key);

#endif
