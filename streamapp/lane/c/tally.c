#include "tally.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "home.h"
#include "usage.h"

enum {
    HOUR_MS = 3600000,
    HOURS_MAX = 64, /* open at a time; further ones are left to Python */
    ITEMS_MAX = 4096,
    KEY_MAX = 3 * 256 + 2,
};

#define NO_MEMORY (-2)
#define NOT_THERE (-1)

typedef struct {
    int64_t hour_ms;
    uint32_t expiry_h;
} open_t;

/* A model that has a place, in a currency that is known. */
typedef struct {
    uint8_t *key;
    size_t length;
    uint64_t hash;
    int32_t name, currency;
} item_t;

struct tally {
    ids_t *ids;
    slots_t *slots;
    int32_t partition, partitions;
    int64_t future_ms;
    open_t hours[HOURS_MAX];
    int hour_count;
    item_t items[ITEMS_MAX];
    int64_t item_count;
    uint32_t item_places[2 * ITEMS_MAX];
};

tally_t *tally_new(ids_t *ids, slots_t *slots, int32_t partition, int32_t partitions, int64_t future_ms) {
    tally_t *tally = calloc(1, sizeof *tally);
    if (!tally) return NULL;
    tally->ids = ids;
    tally->slots = slots;
    tally->partition = partition;
    tally->partitions = partitions;
    tally->future_ms = future_ms;
    return tally;
}

void tally_free(tally_t *tally) {
    if (!tally) return;
    tally_forget(tally);
    free(tally);
}

static open_t *hour_at(tally_t *tally, int64_t hour_ms) {
    for (int i = 0; i < tally->hour_count; i++)
        if (tally->hours[i].hour_ms == hour_ms) return &tally->hours[i];
    return NULL;
}

int tally_open(tally_t *tally, int64_t hour_ms, uint32_t expiry_h) {
    if (hour_at(tally, hour_ms)) return 1;
    if (tally->hour_count == HOURS_MAX) return NOT_THERE;
    tally->hours[tally->hour_count++] = (open_t){hour_ms, expiry_h};
    return 1;
}

void tally_close(tally_t *tally, int64_t hour_ms) {
    open_t *hour = hour_at(tally, hour_ms);
    if (hour) *hour = tally->hours[--tally->hour_count];
}

static size_t item_place(const tally_t *tally, const uint8_t *key, size_t length, uint64_t hash) {
    size_t at = hash & (2 * ITEMS_MAX - 1);
    for (; tally->item_places[at]; at = (at + 1) & (2 * ITEMS_MAX - 1)) {
        const item_t *item = &tally->items[tally->item_places[at] - 1];
        if (item->hash == hash && item->length == length && !memcmp(item->key, key, length)) break;
    }
    return at;
}

int64_t tally_learn(tally_t *tally, const uint8_t *key, size_t length, int32_t name, int32_t currency) {
    uint64_t hash = map_hash(key, length);
    size_t at = item_place(tally, key, length, hash);
    if (tally->item_places[at]) return (int64_t)tally->item_places[at] - 1;
    if (tally->item_count == ITEMS_MAX) return NOT_THERE;
    uint8_t *own = malloc(length);
    if (!own) return NO_MEMORY;
    memcpy(own, key, length);
    tally->items[tally->item_count] = (item_t){own, length, hash, name, currency};
    tally->item_places[at] = (uint32_t)++tally->item_count;
    return tally->item_count - 1;
}

void tally_forget(tally_t *tally) {
    for (int64_t i = 0; i < tally->item_count; i++) free(tally->items[i].key);
    memset(tally->item_places, 0, sizeof tally->item_places);
    tally->item_count = 0;
}

static int64_t item_of(const tally_t *tally, const usage_t *usage) {
    uint8_t key[KEY_MAX], *end = key;
    const span_t parts[] = {usage->provider, usage->model, usage->currency};
    for (int i = 0; i < 3; i++) {
        if (i) *end++ = 0;
        memcpy(end, parts[i].at, parts[i].length);
        end += parts[i].length;
    }
    size_t length = (size_t)(end - key);
    return (int64_t)tally->item_places[item_place(tally, key, length, map_hash(key, length))] - 1;
}

typedef enum { COUNTED, REPEATED, NOT_PLAIN, OUT_OF_MEMORY } verdict_t;

static verdict_t count(tally_t *tally, const uint8_t *payload, const part_t *part, run_t *run) {
    usage_t usage;
    const uint8_t *value = payload + part->value_at;
    if (part->key_length < 0 || part->value_length < 0) return NOT_PLAIN;
    if (!usage_read(value, (size_t)part->value_length, &usage)) return NOT_PLAIN;
    if (usage.latency_us == INEXACT || usage.ttft_us == INEXACT) return NOT_PLAIN;
    if (usage.at_ms >= run->next_mark_ms || usage.at_ms - tally->future_ms > part->timestamp) return NOT_PLAIN;
    const uint8_t *key = payload + part->key_at;
    if (!is_at_home(&usage, key, (size_t)part->key_length, tally->partition, tally->partitions)) return NOT_PLAIN;

    mark_t mark;
    known_t known = ids_look(tally->ids, usage.id.at, usage.id.length, value, (size_t)part->value_length, &mark);
    if (known != ID_NEW) return known == ID_SAME ? REPEATED : NOT_PLAIN;

    const open_t *hour = hour_at(tally, usage.at_ms - usage.at_ms % HOUR_MS);
    int64_t number = item_of(tally, &usage);
    if (!hour || number < 0) return NOT_PLAIN;
    const item_t *item = &tally->items[number];
    if (!ids_add(tally->ids, &mark, hour->expiry_h)) return OUT_OF_MEMORY;
    if (!slots_add(tally->slots, &usage, item->name, item->currency)) return OUT_OF_MEMORY;
    if (usage.at_ms > run->watermark_ms) run->watermark_ms = usage.at_ms;
    return COUNTED;
}

int64_t tally_run(tally_t *tally, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until, run_t *run) {
    for (int64_t at = from; at < until; at++) {
        verdict_t verdict = count(tally, payload, &parts[at], run);
        if (verdict == NOT_PLAIN) return at;
        if (verdict == OUT_OF_MEMORY) return NO_MEMORY;
        run->duplicates += verdict == REPEATED;
    }
    return until;
}
