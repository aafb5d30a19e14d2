/* Any bytes as a record's value: each reader takes them or leaves them, and what it takes lies within them. */
#include <stdlib.h>

#include "tables/calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(const uint8_t *value, size_t size, span_t span) {
    int is_own = span.at >= value && span.at <= value + size && span.length <= size;
    if (is_own && span.length > (size_t)(value + size - span.at)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *value = malloc(size ? size : 1); /* exactly so many bytes: one beyond them is found */
    if (!value) return 0;
    memcpy(value, data, size);
    llm_usage_t usage;
    rpc_metered_t call;
    event_captured_t event;
    unsigned __int128 amount;
    if (event_read(&llm_usage, value, size, &usage)) {
        within(value, size, usage.envelope.id);
        within(value, size, usage.data.model);
        if (!usage.envelope.id.length || usage.envelope.timestamp < 0) abort();
    }
    if (event_read(&rpc_metered, value, size, &call)) {
        within(value, size, call.data.method);
        calls_amount(&call, &amount);
    }
    if (event_read(&event_captured, value, size, &event)) within(value, size, event.data.properties);
    free(value);
    return 0;
}
