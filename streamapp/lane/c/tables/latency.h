/* The lane of the latency table: what usage counts by minute and series. A record is plain when its model has a place, its
 * currency is known, and its durations are whole microseconds. */
#ifndef LATENCY_H
#define LATENCY_H

#include "tables/lane.h"

enum { BOUNDS = 12, STATUSES = 4 }; /* one bucket more than bounds */

/* What is told apart: a minute or an hour, of a series or (name and stream -1) of all, in a currency. `stream`: -1 when the
 * events do not say. */
typedef struct {
    int64_t is_hour, start_ms, name, stream, currency;
} window_t;

typedef struct {
    int64_t sum_us;
    int64_t buckets[BOUNDS + 1];
} durations_t;

/* What was counted; `cost` is in units of 10^-12, in two halves. From `statuses` on the numbers stand as in
 * tables/latency/tally.py. */
typedef struct {
    window_t window;
    uint64_t cost_low, cost_high;
    int64_t statuses[STATUSES];
    int64_t cache_hits, prompt_tokens, completion_tokens;
    durations_t latency, ttft;
    int64_t other_statuses, other_tokens, latencies_ignored, ttfts_ignored;
} slot_t;

/* Slots, and their spreads: two a slot, latency and ttft. `ends`, two a slot, says where the bins of each end in `packed`.
 * They are packed as they are stored: MessagePack, number → count. */
typedef struct {
    const slot_t *slots;
    const int32_t *ends;
    const uint8_t *packed;
    int64_t slot_count, packed_length;
} taken_t;

/* `edges`: the shortest duration of each bin. `bounds`: the longest of each bucket but the last. */
lane_t *latency_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, const int64_t *edges,
                    int32_t edge_count, const int64_t bounds[BOUNDS]);

/* A model that has a place, in a currency that is known, and the numbers of both; `key` is provider, model and currency,
 * joined by zero bytes. Returns NO_MEMORY without memory. `latency_forget` forgets all of them: only when everything was
 * taken. */
int64_t latency_learn(lane_t *lane, const uint8_t *key, size_t length, int32_t name, int32_t currency);
void latency_forget(lane_t *lane);

/* How many slots have counted something since they were taken. */
int64_t latency_touched(const lane_t *lane);

/* All that was counted since the last call, with what follows from it: the minutes of all series together, the hours of
 * each, the hours of all. It stays where it is until something is counted again. Returns 1, or NO_MEMORY. */
int latency_take(lane_t *lane, taken_t *taken);

#endif
