/* Any bytes as a record's value: each reader takes them or leaves them, and what it takes lies within them. */
#include <stdlib.h>

#include "captured.h"
#include "metering.h"
#include "usage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(const uint8_t *value, size_t size, span_t span) {
    int is_own = span.at >= value && span.at <= value + size && span.length <= size;
    if (is_own && span.length > (size_t)(value + size - span.at)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *value = malloc(size ? size : 1); /* exactly so many bytes: one beyond them is found */
    if (!value) return 0;
    memcpy(value, data, size);
    usage_t usage;
    call_t call;
    captured_t event;
    if (usage_read(value, size, &usage)) {
        within(value, size, usage.id);
        within(value, size, usage.model);
        if (!usage.id.length || usage.at_ms < 0) abort();
    }
    if (call_read(value, size, &call)) within(value, size, call.method);
    if (captured_read(value, size, &event)) within(value, size, event.properties);
    free(value);
    return 0;
}
