/* Rows of usage as they leave: their lines as they are stored, and whole rows of an hour that closes, each with its first bill
 * (streamapp/meters/usage/statement.py). */
#ifndef BILL_H
#define BILL_H

#include "tables/usage.h"

typedef struct {
    int64_t requests, errors, cache_hits, rounded;
    unsigned __int128 prompt_tokens, completion_tokens, other_tokens, cost;
} sums_t;

typedef struct {
    line_t base;
    sums_t sums;
} model_t;

static inline void add_sums(sums_t *to, const sums_t *more) {
    to->requests += more->requests;
    to->errors += more->errors;
    to->cache_hits += more->cache_hits;
    to->rounded += more->rounded;
    to->prompt_tokens += more->prompt_tokens;
    to->completion_tokens += more->completion_tokens;
    to->other_tokens += more->other_tokens;
    to->cost += more->cost;
}

static inline unsigned __int128 whole(wide_t wide) { return (unsigned __int128)wide.high << 64 | wide.low; }
static inline wide_t halves(unsigned __int128 number) { return (wide_t){(uint64_t)number, (uint64_t)(number >> 64)}; }

/* The lines of a row, as they are stored, behind what is in `out`. */
void bill_lines(rows_lane_t *lane, const hour_t *hour, const row_t *row);

enum { PIECE_BYTES = 128 * 1024 }; /* of an hour's rows at a time: they are read while the processor still has them */

/* An hour as its bills have it: their type, when it starts and ends, and how their ids begin. */
typedef struct {
    const char *type, *start, *end, *id;
} period_t;

/* What a closed row begins with; then come its key; its value, with all of it stated; its bill's id; and of the bill's JSON
 * what stands between its timestamp and its running total. */
typedef struct {
    uint32_t key_length, value_length, id_length, bill_length;
    int64_t first_offset, last_offset;
    counts_t totals;
} closed_t;

/* The rows of an hour that closes, back to back, each as `closed_t`: from number `*next` on, until they are PIECE_BYTES or
 * more. Returns how many bytes, which stay until the next call; 0 behind the last row; NO_MEMORY. */
int64_t bill_closed(lane_t *lane, int64_t hour_ms, const period_t *period, int64_t *next, const uint8_t **packed);

#endif
