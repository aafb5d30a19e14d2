/* Any bytes as a decompressed batch: what is found of its records lies within it, and becomes columns. The first byte is
 * how many records it says it has. */
#include <stdlib.h>
#include <string.h>

#include "read/batch.h"
#include "read/columns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    int64_t count = data[0];
    size_t length = size - 1;
    uint8_t *payload = malloc(length ? length : 1);
    part_t *parts = calloc((size_t)count + 1, sizeof *parts);
    columns_t *columns = columns_new(count & 1);
    if (payload && parts && columns) {
        memcpy(payload, data + 1, length);
        if (batch_read(payload, length, 1 << 20, 1736937000000, -1, count, parts)) {
            batch_bytes(parts, 0, count);
            for (int64_t at = 0; at < count; at++) {
                if (parts[at].value_length > 0 && (size_t)parts[at].value_at + (size_t)parts[at].value_length > length) abort();
                columns_run(columns, payload, parts, at, at + 1);
            }
            const uint8_t *start;
            for (int number = 0; number < BUFFERS; number++) columns_buffer(columns, number, &start);
        }
    }
    columns_free(columns);
    free(parts);
    free(payload);
    return 0;
}
