/* The fast path of a partition's latency table: it counts plain records, and stops at the first that is not.
 *
 * As lane.h is for the ledger: a record is plain when counting it changes nothing but the counts of an item (a model
 * that has a place, in a currency that is known; slots.h), the watermark, and the remembered ids. */
#ifndef TALLY_H
#define TALLY_H

#include "batch.h"
#include "ids.h"
#include "lane.h"
#include "slots.h"

typedef struct tally tally_t;

tally_t *tally_new(ids_t *ids, slots_t *slots, int32_t partition, int32_t partitions, int64_t future_ms);
void tally_free(tally_t *tally);

/* An hour is open from now on, and its ids expire at `expiry_h`. Returns -1 when too many are. */
int tally_open(tally_t *tally, int64_t hour_ms, uint32_t expiry_h);
void tally_close(tally_t *tally, int64_t hour_ms);

/* An item, and the numbers of its name and currency in slots; `key` is provider, model and currency, joined by zero
 * bytes. Returns -1 when there are too many, -2 without memory. `tally_forget` forgets all of them: only when everything
 * was taken. */
int64_t tally_learn(tally_t *tally, const uint8_t *key, size_t length, int32_t name, int32_t currency);
void tally_forget(tally_t *tally);

/* Count the records of a payload from `from` to before `until`. Returns the first that is not plain, or `until`; -2
 * without memory. */
int64_t tally_run(tally_t *tally, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until, run_t *run);

#endif
