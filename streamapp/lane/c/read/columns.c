#include "read/columns.h"

#include "read/event.h"
#include "base/pack.h"

#define KEPT_UNTIL_MS 4102444800000 /* as in schemas/judging/insights.py */

struct columns {
    int keeps_ip;
    int64_t count;
    buffer_t buffers[BUFFERS];
};

columns_t *columns_new(int keeps_ip) {
    static const int32_t ZERO = 0;
    columns_t *columns = calloc(1, sizeof *columns);
    if (!columns) return NULL;
    columns->keeps_ip = keeps_ip;
    for (int text = 0; text < TEXTS; text++) {
        buffer_t *ends = &columns->buffers[2 * text];
        put_bytes(ends, &ZERO, sizeof ZERO);
        if (ends->is_full) {
            columns_free(columns);
            return NULL;
        }
    }
    return columns;
}

void columns_free(columns_t *columns) {
    if (!columns) return;
    for (int number = 0; number < BUFFERS; number++) buffer_free(&columns->buffers[number]);
    free(columns);
}

/* The text of this row ends here. Returns 0 without memory, and beyond what 32 bits can say. */
static int end_text(columns_t *columns, int text) {
    buffer_t *ends = &columns->buffers[2 * text], *bytes = ends + 1;
    if (bytes->is_full || bytes->length > INT32_MAX) return 0;
    int32_t end = (int32_t)bytes->length;
    put_bytes(ends, &end, sizeof end);
    return !ends->is_full;
}

static int put_text(columns_t *columns, int text, span_t span) {
    if (span.length) put_bytes(&columns->buffers[2 * text + 1], span.at, span.length);
    return end_text(columns, text);
}

static int put_numbers(columns_t *columns, const int64_t numbers[NUMBERS]) {
    int is_full = 0;
    for (int number = 0; number < NUMBERS; number++) {
        buffer_t *buffer = &columns->buffers[2 * TEXTS + number];
        put_bytes(buffer, &numbers[number], sizeof numbers[number]);
        is_full |= buffer->is_full;
    }
    columns->count += !is_full;
    return !is_full;
}

static int contains(span_t span, const char *word) {
    size_t length = strlen(word);
    for (size_t at = 0; at + length <= span.length; at++)
        if (span.at[at] == (uint8_t)*word && same(span.at + at, word, length)) return 1;
    return 0;
}

/* The address first, unless the client said one; spaces that it stood before go. */
static int put_properties(columns_t *columns, int text, span_t properties, span_t ip) {
    if (!columns->keeps_ip || !ip.length || contains(properties, "\"$ip\"")) return put_text(columns, text, properties);
    buffer_t *bytes = &columns->buffers[2 * text + 1];
    text_t rest = {.at = properties.at + 1, .end = properties.at + properties.length};
    skip_spaces(&rest);
    put_bytes(bytes, "{\"$ip\":\"", 8);
    put_bytes(bytes, ip.at, ip.length);
    put_bytes(bytes, "\",", *rest.at == '}' ? 1 : 2);
    put_bytes(bytes, rest.at, (size_t)(rest.end - rest.at));
    return end_text(columns, text);
}

static int put_event(columns_t *columns, const event_captured_t *event, const part_t *part) {
    const struct event_captured_data *data = &event->data;
    int64_t stamp = part->timestamp; /* any: a client may have written it */
    if (stamp < 0) stamp = 0;
    if (stamp >= KEPT_UNTIL_MS) stamp = KEPT_UNTIL_MS - 1;
    return put_text(columns, 0, data->uuid) && put_text(columns, 1, data->event) &&
           put_properties(columns, 2, data->properties, data->ip) && put_text(columns, 3, event->envelope.team_id) &&
           put_text(columns, 4, data->distinct_id) && put_text(columns, 5, data->session_id) &&
           put_numbers(columns, (int64_t[NUMBERS]){event->envelope.timestamp, stamp, part->offset});
}

int64_t columns_run(columns_t *columns, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until) {
    event_captured_t event;
    for (int64_t at = from; at < until; at++) {
        const part_t *part = &parts[at];
        if (part->value_length < 0) return at;
        if (!event_read(&event_captured, payload + part->value_at, (size_t)part->value_length, &event)) return at;
        /* Without a uuid one is made of the id: not here. */
        if (!event.data.uuid.at || event.envelope.timestamp >= KEPT_UNTIL_MS) return at;
        if (!put_event(columns, &event, part)) return NO_MEMORY;
    }
    return until;
}

int columns_add(columns_t *columns, const uint8_t *const texts[TEXTS], const size_t lengths[TEXTS],
                const int64_t numbers[NUMBERS]) {
    for (int text = 0; text < TEXTS; text++)
        if (!put_text(columns, text, (span_t){texts[text], lengths[text]})) return NO_MEMORY;
    return put_numbers(columns, numbers) ? 0 : NO_MEMORY;
}

int64_t columns_count(const columns_t *columns) { return columns->count; }

size_t columns_buffer(const columns_t *columns, int number, const uint8_t **start) {
    *start = columns->buffers[number].bytes;
    return columns->buffers[number].length;
}
