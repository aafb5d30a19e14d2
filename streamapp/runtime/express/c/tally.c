#include "tally.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "home.h"
#include "usage.h"

enum {
    HOUR_MS = 3600000,
    MINUTE_MS = 60000,
    HOURS_MAX = 64, /* open at a time; further ones are left to Python */
    ITEMS_MAX = 4096,
    KEY_MAX = 3 * 256 + 2,
    PLACES_MIN = 1024,
};

#define NO_MEMORY (-2)
#define NOT_THERE (-1)

typedef struct {
    int64_t hour_ms;
    uint32_t expiry_h;
} open_t;

typedef struct {
    uint8_t *key;
    size_t length;
    uint64_t hash;
} item_t;

/* Numbers by what they stand for: open addressing, at most half full. A place holds a number + 1; 0: free. */
typedef struct {
    uint32_t *at;
    size_t count;
} places_t;

struct tally {
    ids_t *ids;
    int32_t partition, partitions;
    int64_t future_ms;
    int64_t *edges, *bounds;
    int32_t edge_count;
    open_t hours[HOURS_MAX];
    int hour_count;
    item_t items[ITEMS_MAX];
    int64_t item_count;
    uint32_t item_places[2 * ITEMS_MAX];
    slot_sum_t *slots;
    int64_t slot_count, slot_room;
    places_t slot_places;
    bin_t *bins;
    int64_t bin_count, bin_room;
    places_t bin_places;
};

static int64_t *copied(const int64_t *numbers, int32_t count) {
    int64_t *own = malloc((size_t)count * sizeof *own);
    if (own) memcpy(own, numbers, (size_t)count * sizeof *own);
    return own;
}

tally_t *tally_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, const int64_t *edges,
                   int32_t edge_count, const int64_t bounds[BOUNDS]) {
    tally_t *tally = calloc(1, sizeof *tally);
    if (!tally) return NULL;
    tally->ids = ids;
    tally->partition = partition;
    tally->partitions = partitions;
    tally->future_ms = future_ms;
    tally->edges = copied(edges, edge_count);
    tally->bounds = copied(bounds, BOUNDS);
    tally->edge_count = edge_count;
    if (tally->edges && tally->bounds) return tally;
    tally_free(tally);
    return NULL;
}

void tally_free(tally_t *tally) {
    if (!tally) return;
    tally_forget(tally);
    free(tally->edges);
    free(tally->bounds);
    free(tally->slots);
    free(tally->slot_places.at);
    free(tally->bins);
    free(tally->bin_places.at);
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

int64_t tally_learn(tally_t *tally, const uint8_t *key, size_t length) {
    uint64_t hash = xxh64(key, length, 0);
    size_t at = item_place(tally, key, length, hash);
    if (tally->item_places[at]) return (int64_t)tally->item_places[at] - 1;
    if (tally->item_count == ITEMS_MAX) return NOT_THERE;
    uint8_t *own = malloc(length);
    if (!own) return NO_MEMORY;
    memcpy(own, key, length);
    tally->items[tally->item_count] = (item_t){own, length, hash};
    tally->item_places[at] = (uint32_t)++tally->item_count;
    return tally->item_count - 1;
}

void tally_forget(tally_t *tally) {
    for (int64_t i = 0; i < tally->item_count; i++) free(tally->items[i].key);
    memset(tally->item_places, 0, sizeof tally->item_places);
    tally->item_count = 0;
}

static uint64_t mixed(uint64_t number) {
    number *= 0x9E3779B97F4A7C15u;
    return number ^ number >> 29;
}

static uint64_t slot_hash(const slot_sum_t *slot) {
    return mixed((uint64_t)slot->minute_ms / MINUTE_MS * 3 * ITEMS_MAX + (uint64_t)(slot->item * 3 + slot->stream + 1));
}

static uint64_t bin_hash(const bin_t *bin) {
    return mixed((uint64_t)bin->slot << 32 | (uint64_t)bin->which << 16 | (uint64_t)bin->bin);
}

/* Room for one more of `count` numbers; the caller puts them in again after the places have grown. Returns 1 when they
 * have, 0 when there was room, NO_MEMORY. */
static int more_places(places_t *places, int64_t count) {
    if (2 * (size_t)(count + 1) <= places->count) return 0;
    size_t wanted = places->count ? 2 * places->count : PLACES_MIN;
    uint32_t *at = calloc(wanted, sizeof *at);
    if (!at) return NO_MEMORY;
    free(places->at);
    *places = (places_t){at, wanted};
    return 1;
}

static int more_room(void **items, int64_t count, int64_t *room, size_t size) {
    if (count < *room) return 1;
    int64_t wanted = *room ? 2 * *room : PLACES_MIN;
    void *grown = realloc(*items, (size_t)wanted * size);
    if (!grown) return 0;
    *items = grown;
    *room = wanted;
    return 1;
}

static size_t free_place(const places_t *places, uint64_t hash) {
    size_t at = hash & (places->count - 1);
    while (places->at[at]) at = (at + 1) & (places->count - 1);
    return at;
}

/* The slot of a minute, item and stream; NO_MEMORY. */
static int64_t slot_of(tally_t *tally, int64_t minute_ms, int64_t item, int stream) {
    places_t *places = &tally->slot_places;
    slot_sum_t wanted = {.minute_ms = minute_ms, .item = item, .stream = stream};
    int grown = more_places(places, tally->slot_count);
    if (grown == NO_MEMORY) return NO_MEMORY;
    for (int64_t i = 0; grown && i < tally->slot_count; i++)
        places->at[free_place(places, slot_hash(&tally->slots[i]))] = (uint32_t)i + 1;
    size_t at = slot_hash(&wanted) & (places->count - 1);
    for (; places->at[at]; at = (at + 1) & (places->count - 1)) {
        const slot_sum_t *slot = &tally->slots[places->at[at] - 1];
        if (slot->minute_ms == minute_ms && slot->item == item && slot->stream == stream) return places->at[at] - 1;
    }
    if (!more_room((void **)&tally->slots, tally->slot_count, &tally->slot_room, sizeof wanted)) return NO_MEMORY;
    tally->slots[tally->slot_count] = wanted;
    places->at[at] = (uint32_t)++tally->slot_count;
    return tally->slot_count - 1;
}

static int32_t bin_of(const tally_t *tally, int64_t us) {
    int32_t low = 0, high = tally->edge_count; /* the last edge that is not above it */
    while (high - low > 1) {
        int32_t middle = (low + high) / 2;
        if (tally->edges[middle] <= us) low = middle;
        else high = middle;
    }
    return low;
}

static int add_to_bin(tally_t *tally, int64_t slot, int which, int64_t us) {
    places_t *places = &tally->bin_places;
    bin_t wanted = {(int32_t)slot, which, bin_of(tally, us), 1};
    int grown = more_places(places, tally->bin_count);
    if (grown == NO_MEMORY) return 0;
    for (int64_t i = 0; grown && i < tally->bin_count; i++)
        places->at[free_place(places, bin_hash(&tally->bins[i]))] = (uint32_t)i + 1;
    size_t at = bin_hash(&wanted) & (places->count - 1);
    for (; places->at[at]; at = (at + 1) & (places->count - 1)) {
        bin_t *bin = &tally->bins[places->at[at] - 1];
        if (bin->slot == wanted.slot && bin->which == which && bin->bin == wanted.bin) {
            bin->count++;
            return 1;
        }
    }
    if (!more_room((void **)&tally->bins, tally->bin_count, &tally->bin_room, sizeof wanted)) return 0;
    tally->bins[tally->bin_count] = wanted;
    places->at[at] = (uint32_t)++tally->bin_count;
    return 1;
}

static int add_duration(tally_t *tally, int64_t slot, int which, int64_t us) {
    if (us == UNMEASURED) return 1;
    slot_sum_t *sum = &tally->slots[slot];
    durations_t *durations = which ? &sum->ttft : &sum->latency;
    int bucket = 0;
    while (bucket < BOUNDS && tally->bounds[bucket] < us) bucket++;
    durations->sum_us += us;
    durations->buckets[bucket]++;
    return add_to_bin(tally, slot, which, us);
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
    return (int64_t)tally->item_places[item_place(tally, key, length, xxh64(key, length, 0))] - 1;
}

static int add(tally_t *tally, int64_t slot, const usage_t *usage) {
    slot_sum_t *sum = &tally->slots[slot];
    sum->statuses[usage->status]++;
    sum->cache_hits += usage->is_cache_hit;
    sum->prompt_tokens += usage->prompt_tokens;
    sum->completion_tokens += usage->completion_tokens;
    unsigned __int128 cost = ((unsigned __int128)sum->cost_high << 64 | sum->cost_low) + usage->cost;
    sum->cost_low = (uint64_t)cost;
    sum->cost_high = (uint64_t)(cost >> 64);
    return add_duration(tally, slot, 0, usage->latency_us) && add_duration(tally, slot, 1, usage->ttft_us);
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

    digest_t digest = {xxh64(usage.id.at, usage.id.length, 0), xxh64(usage.id.at, usage.id.length, 1)};
    uint64_t print = xxh64(value, (size_t)part->value_length, 0), known_print;
    uint32_t expiry_h;
    int known = ids_find(tally->ids, digest, &known_print, &expiry_h);
    if (known) return known > 0 && known_print == print ? REPEATED : NOT_PLAIN;

    const open_t *hour = hour_at(tally, usage.at_ms - usage.at_ms % HOUR_MS);
    int64_t item = item_of(tally, &usage);
    if (!hour || item < 0) return NOT_PLAIN;
    int64_t slot = slot_of(tally, usage.at_ms - usage.at_ms % MINUTE_MS, item, usage.is_stream);
    if (slot < 0 || !ids_add(tally->ids, digest, print, hour->expiry_h)) return OUT_OF_MEMORY;
    if (!add(tally, slot, &usage)) return OUT_OF_MEMORY;
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

int64_t tally_slots(const tally_t *tally) { return tally->slot_count; }
int64_t tally_bins(const tally_t *tally) { return tally->bin_count; }

void tally_take(tally_t *tally, slot_sum_t *slots, bin_t *bins) {
    if (!tally->slot_count) return;
    memcpy(slots, tally->slots, (size_t)tally->slot_count * sizeof *slots);
    tally->slot_count = 0;
    memset(tally->slot_places.at, 0, tally->slot_places.count * sizeof *tally->slot_places.at);
    if (!tally->bin_count) return;
    memcpy(bins, tally->bins, (size_t)tally->bin_count * sizeof *bins);
    tally->bin_count = 0;
    memset(tally->bin_places.at, 0, tally->bin_places.count * sizeof *tally->bin_places.at);
}
