/* Where the records of a Kafka record batch (message format 2) lie in its payload. */
#ifndef BATCH_H
#define BATCH_H

#include "base/base.h"

typedef struct {
    int64_t offset, timestamp;
    int32_t key_at, key_length;     /* a length of -1: null */
    int32_t value_at, value_length;
    int32_t headers_at, headers_length; /* as in the payload, the count first */
} part_t;

/* Find `count` records in a decompressed payload. `append_ms` is their timestamp if the broker set one, else -1.
 * Returns 0 if the payload is not exactly so many records,
 * or if their offsets do not ascend. */
int batch_read(const uint8_t *payload, size_t length, int64_t base_offset, int64_t base_ms, int64_t append_ms,
               int64_t count, part_t *parts);

/* How many bytes the values of the records from `from` to before `until` have. */
int64_t batch_bytes(const part_t *parts, int64_t from, int64_t until);

#endif
