/* What usage counts for the latency table, by minute and series, until it is gathered: durations by bucket, and by the bin
 * of a sketch, whose edges are the library's. */
#ifndef SLOTS_H
#define SLOTS_H

#include <stdint.h>

#include "pack.h"
#include "usage.h"

enum { BOUNDS = 12 }; /* one bucket more than bounds */

typedef struct {
    int64_t sum_us;
    int64_t buckets[BOUNDS + 1];
} durations_t;

/* What one slot counted: a minute or an hour, of a series or (name and stream -1) of all. `cost` is in units of 10^-12 of
 * `currency`, in two halves; costs in other currencies stand apart, in a chain. From `statuses` on the numbers stand as
 * in tables/latency/tally.py. */
typedef struct {
    int64_t is_hour, start_ms;
    int64_t name, stream; /* stream: -1 when the events do not say */
    int64_t currency, more_costs;
    uint64_t cost_low, cost_high;
    int64_t statuses[STATUSES];
    int64_t cache_hits, prompt_tokens, completion_tokens;
    durations_t latency, ttft;
    int64_t other_statuses, other_tokens, latencies_ignored, ttfts_ignored;
} slot_sum_t;

/* What a slot counted in a further currency. */
typedef struct {
    int64_t slot, currency, next;
    uint64_t low, high;
} cost_t;

/* So many durations of a slot in one bin; `which`: 0 latency, 1 ttft. */
typedef struct {
    int32_t slot, which, bin, count;
} bin_t;

/* Numbers by what they stand for: open addressing, at most half full. A place holds a number + 1; 0: free. */
typedef struct {
    uint32_t *at;
    size_t count;
} places_t;

typedef struct {
    int64_t *edges, *bounds;
    int32_t edge_count;
    slot_sum_t *slots;
    int64_t slot_count, slot_room;
    places_t slot_places;
    cost_t *costs;
    int64_t cost_count, cost_room;
    bin_t *bins;
    int64_t bin_count, bin_room;
    places_t bin_places;
    /* Only while they are gathered (gather.c): */
    slot_sum_t **order;
    int32_t *ends, *numbers, *counts, *dense;
    int64_t end_room, number_room;
    buffer_t packed;
} slots_t;

/* `edges`: the shortest duration of each bin. `bounds`: the longest of each bucket but the last. */
slots_t *slots_new(const int64_t *edges, int32_t edge_count, const int64_t bounds[BOUNDS]);
void slots_free(slots_t *slots);

/* Count an event; name and currency by number. Returns 0 without memory. */
int slots_add(slots_t *slots, const usage_t *usage, int32_t name, int32_t currency);

/* How many slots have counted something since they were gathered. */
int64_t slots_count(const slots_t *slots);

/* Pay so much more in a slot. Returns 0 without memory. */
int slots_pay(slots_t *all, int64_t number, int64_t currency, unsigned __int128 more);

/* The items, with room for one more than `count`; NULL without memory, then they stay as they are. */
void *with_room(void *items, int64_t count, int64_t *room, size_t size);

#endif
