#include "tables/lane.h"

/* What the library was made from: the loader compares it with what is there. */
const char *sources(void);
const char *sources(void) { return SOURCES; }

lane_t *lane_new(const meter_t *meter, size_t size, ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms) {
    lane_t *lane = calloc(1, size);
    if (!lane) return NULL;
    *lane = (lane_t){
        .meter = meter, .ids = ids, .partition = partition, .partitions = partitions, .future_ms = future_ms};
    return lane;
}

hour_t *lane_hour(const lane_t *lane, int64_t hour_ms) {
    for (int64_t i = lane->hour_count; i-- > 0;)
        if (lane->hours[i].hour_ms == hour_ms) return &lane->hours[i];
    return NULL;
}

static void hour_free(const lane_t *lane, hour_t *hour) {
    if (lane->meter->close) lane->meter->close(hour);
    map_free(&hour->rows);
    map_free(&hour->lines);
}

void lane_free(lane_t *lane) {
    if (!lane) return;
    for (int64_t i = 0; i < lane->hour_count; i++) hour_free(lane, &lane->hours[i]);
    if (lane->meter->free) lane->meter->free(lane);
    free(lane->hours);
    free(lane->touched);
    free(lane);
}

int lane_open(lane_t *lane, int64_t hour_ms, uint32_t expiry_h, int is_new) {
    if (lane_hour(lane, hour_ms)) return 1;
    hour_t *hours = with_room(lane->hours, lane->hour_count, &lane->hour_room, sizeof *hours);
    if (!hours) return NO_MEMORY;
    lane->hours = hours;
    hour_t *hour = &hours[lane->hour_count++];
    *hour = (hour_t){.hour_ms = hour_ms, .expiry_h = expiry_h, .is_new = is_new};
    hour->rows.size = lane->meter->row_size;
    hour->lines.size = lane->meter->line_size;
    return 1;
}

void lane_close(lane_t *lane, int64_t hour_ms) {
    hour_t *hour = lane_hour(lane, hour_ms);
    if (!hour) return;
    hour_free(lane, hour);
    *hour = lane->hours[--lane->hour_count];
    int64_t kept = 0;
    for (int64_t i = 0; i < lane->touched_count; i++)
        if (lane->touched[i].hour_ms != hour_ms) lane->touched[kept++] = lane->touched[i];
    lane->touched_count = kept;
}

int lane_touch(lane_t *lane, int64_t hour_ms, int64_t number) {
    touched_t *touched = with_room(lane->touched, lane->touched_count, &lane->touched_room, sizeof *touched);
    if (!touched) return 0;
    lane->touched = touched;
    touched[lane->touched_count++] = (touched_t){hour_ms, number};
    return 1;
}

uint8_t *join(uint8_t *to, const span_t *texts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (i) *to++ = 0;
        memcpy(to, texts[i].at, texts[i].length);
        to += texts[i].length;
    }
    return to;
}

/* Whether the record key is the owner's, and murmur2 puts it on this partition. */
static int is_at_home(const lane_t *lane, const span_t *owner, const uint8_t *key, size_t length) {
    if (length != owner->length || memcmp(key, owner->at, length)) return 0;
    return (int32_t)((murmur2(key, length) & 0x7FFFFFFF) % (uint32_t)lane->partitions) == lane->partition;
}

static verdict_t step(lane_t *lane, const uint8_t *payload, const part_t *part, run_t *run) {
    enum { HOUR_MS = 3600000 };
    union {
        envelope_t envelope;
        llm_usage_t usage;
        rpc_metered_t call;
    } event;
    const envelope_t *envelope = &event.envelope;
    const uint8_t *value = payload + part->value_at;
    if (part->key_length < 0 || part->value_length < 0) return NOT_PLAIN;
    if (!event_read(lane->meter->event, value, (size_t)part->value_length, &event)) return NOT_PLAIN;
    int64_t at_ms = envelope->timestamp;
    if (!envelope->org_id.at) return NOT_PLAIN; /* the directory is asked: not here */
    if (at_ms >= run->next_mark_ms || at_ms - lane->future_ms > part->timestamp) return NOT_PLAIN;
    const span_t *owner = (const span_t *)((const char *)&event + lane->meter->owner);
    if (!is_at_home(lane, owner, payload + part->key_at, (size_t)part->key_length)) return NOT_PLAIN;

    mark_t mark;
    span_t id = envelope->id;
    known_t known = ids_look(lane->ids, id.at, id.length, value, (size_t)part->value_length, &mark);
    if (known != ID_NEW) return known == ID_SAME ? REPEATED : NOT_PLAIN;

    hour_t *hour = lane_hour(lane, at_ms - at_ms % HOUR_MS);
    if (!hour) return NOT_PLAIN;
    verdict_t verdict = lane->meter->count(lane, hour, &event, part->offset);
    if (verdict != COUNTED) return verdict;
    if (!ids_add(lane->ids, &mark, hour->expiry_h)) return OUT_OF_MEMORY;
    if (at_ms > run->watermark_ms) run->watermark_ms = at_ms;
    return COUNTED;
}

int64_t lane_run(lane_t *lane, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until, run_t *run) {
    for (int64_t at = from; at < until; at++) {
        verdict_t verdict = step(lane, payload, &parts[at], run);
        if (verdict == NOT_PLAIN) return at;
        if (verdict == OUT_OF_MEMORY) return NO_MEMORY;
        run->duplicates += verdict == REPEATED;
    }
    return until;
}
