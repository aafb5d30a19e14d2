#include "calls.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "keys.h"
#include "metering.h"

enum {
    HOUR_MS = 3600000,
    HOURS_MAX = 64, /* open at a time: two or three, unless the grace is days; further ones are left to the ledger */
    KEY_MAX = 9 * 258 + 20, /* nine names of at most 256 letters, what joins them, a number */
    ROOM_MIN = 256,
};

#define NO_MEMORY (-2)
#define NOT_THERE (-1)

typedef struct {
    unsigned __int128 cost;
    int64_t calls, first_offset, last_offset;
} line_t;

typedef struct {
    int64_t hour_ms;
    uint32_t expiry_h;
    keys_t keys;
    line_t *lines; /* by the numbers of their keys */
    int64_t room;
} hour_t;

typedef struct {
    int64_t hour_ms, line;
} touched_t;

struct calls {
    ids_t *ids;
    int32_t partition, partitions;
    int64_t future_ms;
    hour_t hours[HOURS_MAX];
    int hour_count;
    touched_t *touched;
    int64_t touched_count, touched_room;
};

static hour_t *hour_at(calls_t *calls, int64_t hour_ms) {
    for (int i = 0; i < calls->hour_count; i++)
        if (calls->hours[i].hour_ms == hour_ms) return &calls->hours[i];
    return NULL;
}

static void hour_free(hour_t *hour) {
    keys_free(&hour->keys);
    free(hour->lines);
}

calls_t *calls_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms) {
    calls_t *calls = calloc(1, sizeof *calls);
    if (!calls) return NULL;
    calls->ids = ids;
    calls->partition = partition;
    calls->partitions = partitions;
    calls->future_ms = future_ms;
    return calls;
}

void calls_free(calls_t *calls) {
    if (!calls) return;
    for (int i = 0; i < calls->hour_count; i++) hour_free(&calls->hours[i]);
    free(calls->touched);
    free(calls);
}

int calls_open(calls_t *calls, int64_t hour_ms, uint32_t expiry_h) {
    if (hour_at(calls, hour_ms)) return 1;
    if (calls->hour_count == HOURS_MAX) return NOT_THERE;
    calls->hours[calls->hour_count++] = (hour_t){.hour_ms = hour_ms, .expiry_h = expiry_h};
    return 1;
}

void calls_close(calls_t *calls, int64_t hour_ms) {
    hour_t *hour = hour_at(calls, hour_ms);
    if (!hour) return;
    hour_free(hour);
    *hour = calls->hours[--calls->hour_count];
}

static uint8_t *append(uint8_t *to, span_t part) {
    memcpy(to, part.at, part.length);
    to += part.length;
    *to++ = 0;
    return to;
}

static uint8_t *append_wallet(uint8_t *to, span_t wallet) {
    *to++ = wallet.at ? '+' : '-';
    if (!wallet.at) {
        *to++ = 0;
        return to;
    }
    return append(to, wallet);
}

static uint8_t *append_number(uint8_t *to, int64_t number) {
    uint8_t digits[20];
    int count = 0;
    do {
        digits[count++] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number);
    while (count) *to++ = digits[--count];
    *to++ = 0;
    return to;
}

static size_t key_of(const call_t *call, uint8_t key[KEY_MAX]) {
    uint8_t *end = append(key, call->org);
    end = append(end, call->agent);
    end = append(end, call->consumer);
    end = append(end, call->currency);
    end = append(end, call->method);
    end = append(end, call->chain);
    end = append_number(end, call->chain_id);
    end = append_wallet(end, call->agent_wallet);
    end = append_wallet(end, call->consumer_wallet);
    return (size_t)(end - key) - 1;
}

/* Whether the record key is the agent's, and murmur2 puts it on this partition. */
static int is_at_home(const calls_t *calls, const call_t *call, const uint8_t *key, size_t length) {
    if (length != call->agent.length || memcmp(key, call->agent.at, length)) return 0;
    return (int32_t)((murmur2(key, length) & 0x7FFFFFFF) % (uint32_t)calls->partitions) == calls->partition;
}

/* The line of a key; NULL without memory. Lines that are new count nothing. */
static line_t *line_of(hour_t *hour, const call_t *call, int64_t *number) {
    uint8_t key[KEY_MAX];
    *number = keys_number(&hour->keys, key, key_of(call, key));
    if (*number < 0) return NULL;
    if (*number >= hour->room) {
        int64_t room = hour->room ? 2 * hour->room : ROOM_MIN;
        line_t *lines = realloc(hour->lines, (size_t)room * sizeof *lines);
        if (!lines) return NULL;
        memset(lines + hour->room, 0, (size_t)(room - hour->room) * sizeof *lines);
        hour->lines = lines;
        hour->room = room;
    }
    return &hour->lines[*number];
}

static int touch(calls_t *calls, int64_t hour_ms, int64_t line) {
    if (calls->touched_count == calls->touched_room) {
        int64_t room = calls->touched_room ? 2 * calls->touched_room : ROOM_MIN;
        touched_t *touched = realloc(calls->touched, (size_t)room * sizeof *touched);
        if (!touched) return 0;
        calls->touched = touched;
        calls->touched_room = room;
    }
    calls->touched[calls->touched_count++] = (touched_t){hour_ms, line};
    return 1;
}

typedef enum { COUNTED, REPEATED, NOT_PLAIN, OUT_OF_MEMORY } verdict_t;

static verdict_t count(calls_t *calls, const uint8_t *payload, const part_t *part, run_t *run) {
    call_t call;
    const uint8_t *value = payload + part->value_at;
    if (part->key_length < 0 || part->value_length < 0) return NOT_PLAIN;
    if (!call_read(value, (size_t)part->value_length, &call)) return NOT_PLAIN;
    if (call.at_ms >= run->next_mark_ms || call.at_ms - calls->future_ms > part->timestamp) return NOT_PLAIN;
    if (!is_at_home(calls, &call, payload + part->key_at, (size_t)part->key_length)) return NOT_PLAIN;

    digest_t digest = {xxh64(call.id.at, call.id.length, 0), xxh64(call.id.at, call.id.length, 1)};
    uint64_t print = xxh64(value, (size_t)part->value_length, 0), known_print;
    uint32_t expiry_h;
    if (ids_find(calls->ids, digest, &known_print, &expiry_h)) return known_print == print ? REPEATED : NOT_PLAIN;

    hour_t *hour = hour_at(calls, call.at_ms - call.at_ms % HOUR_MS);
    if (!hour) return NOT_PLAIN;
    int64_t number;
    line_t *line = line_of(hour, &call, &number);
    if (!line || (!line->calls && !touch(calls, hour->hour_ms, number))) return OUT_OF_MEMORY;
    if (!ids_add(calls->ids, digest, print, hour->expiry_h)) return OUT_OF_MEMORY;
    if (!line->calls) line->first_offset = part->offset;
    line->calls++;
    line->cost += call.amount;
    line->last_offset = part->offset;
    if (call.at_ms > run->watermark_ms) run->watermark_ms = call.at_ms;
    return COUNTED;
}

int64_t calls_run(calls_t *calls, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until, run_t *run) {
    for (int64_t at = from; at < until; at++) {
        verdict_t verdict = count(calls, payload, &parts[at], run);
        if (verdict == NOT_PLAIN) return at;
        if (verdict == OUT_OF_MEMORY) return NO_MEMORY;
        run->duplicates += verdict == REPEATED;
    }
    return until;
}

int64_t calls_touched(const calls_t *calls) { return calls->touched_count; }

void calls_take(calls_t *calls, call_sum_t *sums) {
    for (int64_t i = 0; i < calls->touched_count; i++) {
        touched_t at = calls->touched[i];
        line_t *line = &hour_at(calls, at.hour_ms)->lines[at.line];
        sums[i] = (call_sum_t){
            .hour_ms = at.hour_ms,
            .line = at.line,
            .calls = line->calls,
            .cost_low = (uint64_t)line->cost,
            .cost_high = (uint64_t)(line->cost >> 64),
            .first_offset = line->first_offset,
            .last_offset = line->last_offset,
        };
        *line = (line_t){0};
    }
    calls->touched_count = 0;
}

size_t calls_keys(const calls_t *calls, int64_t hour_ms, int64_t from, uint8_t *keys) {
    const hour_t *hour = hour_at((calls_t *)calls, hour_ms);
    size_t length = 0;
    for (int64_t i = from; hour && i < hour->keys.count; i++) {
        const named_t *name = &hour->keys.names[i];
        if (keys) {
            keys[length] = (uint8_t)name->length;
            keys[length + 1] = (uint8_t)(name->length >> 8);
            memcpy(keys + length + 2, name->bytes, name->length);
        }
        length += 2 + name->length;
    }
    return length;
}
