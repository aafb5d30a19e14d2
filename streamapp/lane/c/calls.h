/* The fast path of a partition of metered calls: as lane.h is for usage.
 *
 * A record is plain when counting it changes nothing but the calls of an hour that is open (rows.h), the watermark and the
 * remembered ids: a plain call of an agent that is at home here, not ahead of its record, below the next mark. */
#ifndef CALLS_H
#define CALLS_H

#include "lane.h"
#include "rows.h"

typedef struct calls calls_t;

calls_t *calls_new(ids_t *ids, rows_t *rows, int32_t partition, int32_t partitions, int64_t future_ms);
void calls_free(calls_t *calls);

/* Count the records of a payload from `from` to before `until`. Returns the first that is not plain, or `until`; -2
 * without memory. */
int64_t calls_run(calls_t *calls, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until, run_t *run);

#endif
