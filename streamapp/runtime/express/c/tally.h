/* The express lane of a partition's latency table: it counts plain records, and stops at the first that is not.
 *
 * As lane.h is for the ledger: a record is plain when counting it changes nothing but the counts of an item (a model
 * that has a place, in a currency that is known), the watermark, and the remembered ids. Counts are kept by minute, item
 * and stream until they are taken; durations by bucket, and by the bin of a sketch, whose edges are the library's. */
#ifndef TALLY_H
#define TALLY_H

#include "batch.h"
#include "ids.h"
#include "lane.h"

enum { STATUSES = 4, BOUNDS = 12 }; /* one bucket more than bounds */

typedef struct tally tally_t;

typedef struct {
    int64_t sum_us;
    int64_t buckets[BOUNDS + 1];
} durations_t;

/* What one slot counted since it was taken last. `cost` is in units of 10^-12, in two halves. From `statuses` on the
 * numbers stand as in tables/tally.py. */
typedef struct {
    int64_t minute_ms;
    int64_t item, stream; /* stream: -1 when the events do not say */
    uint64_t cost_low, cost_high;
    int64_t statuses[STATUSES];
    int64_t cache_hits, prompt_tokens, completion_tokens;
    durations_t latency, ttft;
} slot_sum_t;

/* So many durations of a slot in one bin; `which`: 0 latency, 1 ttft. */
typedef struct {
    int32_t slot, which, bin, count;
} bin_t;

/* `edges`: the shortest duration of each bin. `bounds`: the longest of each bucket but the last. */
tally_t *tally_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, const int64_t *edges,
                   int32_t edge_count, const int64_t bounds[BOUNDS]);
void tally_free(tally_t *tally);

/* An hour is open from now on, and its ids expire at `expiry_h`. Returns -1 when too many are. */
int tally_open(tally_t *tally, int64_t hour_ms, uint32_t expiry_h);
void tally_close(tally_t *tally, int64_t hour_ms);

/* The number of an item; `key` is provider, model and currency, joined by zero bytes. Returns -1 when there are too
 * many, -2 without memory. `tally_forget` forgets all of them: only when everything was taken. */
int64_t tally_learn(tally_t *tally, const uint8_t *key, size_t length);
void tally_forget(tally_t *tally);

/* Count the records of a payload from `from` to before `until`. Returns the first that is not plain, or `until`; -2
 * without memory. */
int64_t tally_run(tally_t *tally, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until, run_t *run);

/* How many slots and bins have counted something since they were taken; take them, in the order of first records. */
int64_t tally_slots(const tally_t *tally);
int64_t tally_bins(const tally_t *tally);
void tally_take(tally_t *tally, slot_sum_t *slots, bin_t *bins);

#endif
