#include "slots.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"

enum {
    MINUTE_MS = 60000,
    NAMES_MAX = 4096,
    PLACES_MIN = 1024,
};

#define NO_MEMORY (-2)

static int64_t *copied(const int64_t *numbers, int32_t count) {
    int64_t *own = malloc((size_t)count * sizeof *own);
    if (own) memcpy(own, numbers, (size_t)count * sizeof *own);
    return own;
}

slots_t *slots_new(const int64_t *edges, int32_t edge_count, const int64_t bounds[BOUNDS]) {
    slots_t *slots = calloc(1, sizeof *slots);
    if (!slots) return NULL;
    slots->edges = copied(edges, edge_count);
    slots->bounds = copied(bounds, BOUNDS);
    slots->edge_count = edge_count;
    slots->dense = calloc((size_t)edge_count, sizeof *slots->dense);
    if (slots->edges && slots->bounds && slots->dense) return slots;
    slots_free(slots);
    return NULL;
}

void slots_free(slots_t *slots) {
    if (!slots) return;
    free(slots->edges);
    free(slots->bounds);
    free(slots->slots);
    free(slots->costs);
    free(slots->slot_places.at);
    free(slots->bins);
    free(slots->bin_places.at);
    free(slots->order);
    free(slots->ends);
    free(slots->numbers);
    free(slots->counts);
    free(slots->dense);
    buffer_free(&slots->packed);
    free(slots);
}

static uint64_t slot_hash(const slot_sum_t *slot) {
    uint64_t minute = (uint64_t)slot->start_ms / MINUTE_MS;
    return map_hash_number(minute * 3 * NAMES_MAX + (uint64_t)(slot->name * 3 + slot->stream + 1));
}

static uint64_t bin_hash(const bin_t *bin) {
    return map_hash_number((uint64_t)bin->slot << 32 | (uint64_t)bin->which << 16 | (uint64_t)bin->bin);
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

void *with_room(void *items, int64_t count, int64_t *room, size_t size) {
    if (count < *room) return items;
    int64_t wanted = *room ? 2 * *room : PLACES_MIN;
    void *grown = realloc(items, (size_t)wanted * size);
    if (grown) *room = wanted;
    return grown;
}

static size_t free_place(const places_t *places, uint64_t hash) {
    size_t at = hash & (places->count - 1);
    while (places->at[at]) at = (at + 1) & (places->count - 1);
    return at;
}

static int is_slot(const slot_sum_t *slot, const slot_sum_t *wanted) {
    return slot->start_ms == wanted->start_ms && slot->name == wanted->name && slot->stream == wanted->stream;
}

/* The slot of a minute and series, made when it is not there; NO_MEMORY. */
static int64_t slot_of(slots_t *all, const slot_sum_t *wanted) {
    places_t *places = &all->slot_places;
    int grown = more_places(places, all->slot_count);
    if (grown == NO_MEMORY) return NO_MEMORY;
    for (int64_t i = 0; grown && i < all->slot_count; i++)
        places->at[free_place(places, slot_hash(&all->slots[i]))] = (uint32_t)i + 1;
    size_t at = slot_hash(wanted) & (places->count - 1);
    for (; places->at[at]; at = (at + 1) & (places->count - 1))
        if (is_slot(&all->slots[places->at[at] - 1], wanted)) return places->at[at] - 1;
    slot_sum_t *slots = with_room(all->slots, all->slot_count, &all->slot_room, sizeof *slots);
    if (!slots) return NO_MEMORY;
    all->slots = slots;
    all->slots[all->slot_count] = *wanted;
    places->at[at] = (uint32_t)++all->slot_count;
    return all->slot_count - 1;
}

/* The last edge that is not above it. Half of the edges are left out at each step, without a branch to guess. */
static int32_t bin_of(const slots_t *all, int64_t us) {
    const int64_t *low = all->edges;
    for (int32_t left = all->edge_count, half; left > 1; left -= half) {
        half = left / 2;
        low = low[half] <= us ? low + half : low;
    }
    return (int32_t)(low - all->edges);
}

static int add_to_bin(slots_t *all, int64_t slot, int which, int32_t number) {
    places_t *places = &all->bin_places;
    bin_t wanted = {(int32_t)slot, which, number, 1};
    int grown = more_places(places, all->bin_count);
    if (grown == NO_MEMORY) return 0;
    for (int64_t i = 0; grown && i < all->bin_count; i++)
        places->at[free_place(places, bin_hash(&all->bins[i]))] = (uint32_t)i + 1;
    size_t at = bin_hash(&wanted) & (places->count - 1);
    for (; places->at[at]; at = (at + 1) & (places->count - 1)) {
        bin_t *bin = &all->bins[places->at[at] - 1];
        if (bin->slot == wanted.slot && bin->which == which && bin->bin == number) {
            bin->count++;
            return 1;
        }
    }
    bin_t *bins = with_room(all->bins, all->bin_count, &all->bin_room, sizeof *bins);
    if (!bins) return 0;
    all->bins = bins;
    all->bins[all->bin_count] = wanted;
    places->at[at] = (uint32_t)++all->bin_count;
    return 1;
}

static int add_duration(slots_t *all, int64_t slot, int which, int64_t us) {
    if (us == UNMEASURED) return 1;
    slot_sum_t *sum = &all->slots[slot];
    if (us == UNUSABLE) {
        *(which ? &sum->ttfts_ignored : &sum->latencies_ignored) += 1;
        return 1;
    }
    durations_t *durations = which ? &sum->ttft : &sum->latency;
    int bucket = 0;
    while (bucket < BOUNDS && all->bounds[bucket] < us) bucket++;
    durations->sum_us += us;
    durations->buckets[bucket]++;
    return add_to_bin(all, slot, which, bin_of(all, us));
}

static void add_to_cost(uint64_t *low, uint64_t *high, unsigned __int128 more) {
    unsigned __int128 cost = ((unsigned __int128)*high << 64 | *low) + more;
    *low = (uint64_t)cost;
    *high = (uint64_t)(cost >> 64);
}

int slots_pay(slots_t *all, int64_t number, int64_t currency, unsigned __int128 more) {
    slot_sum_t *slot = &all->slots[number];
    if (slot->currency == currency) {
        add_to_cost(&slot->cost_low, &slot->cost_high, more);
        return 1;
    }
    for (int64_t at = slot->more_costs; at >= 0; at = all->costs[at].next)
        if (all->costs[at].currency == currency) {
            add_to_cost(&all->costs[at].low, &all->costs[at].high, more);
            return 1;
        }
    cost_t *costs = with_room(all->costs, all->cost_count, &all->cost_room, sizeof *costs);
    if (!costs) return 0;
    all->costs = costs;
    costs[all->cost_count] = (cost_t){number, currency, slot->more_costs, (uint64_t)more, (uint64_t)(more >> 64)};
    slot->more_costs = all->cost_count++;
    return 1;
}

int slots_add(slots_t *all, const usage_t *usage, int32_t name, int32_t currency) {
    slot_sum_t wanted = {
        .start_ms = usage->at_ms - usage->at_ms % MINUTE_MS,
        .name = name,
        .stream = usage->is_stream,
        .currency = currency,
        .more_costs = -1,
    };
    int64_t number = slot_of(all, &wanted);
    if (number < 0) return 0;
    slot_sum_t *slot = &all->slots[number];
    *(usage->status < STATUSES ? &slot->statuses[usage->status] : &slot->other_statuses) += 1;
    slot->cache_hits += usage->is_cache_hit;
    slot->prompt_tokens += usage->prompt_tokens;
    slot->completion_tokens += usage->completion_tokens;
    slot->other_tokens += usage->other_tokens;
    return slots_pay(all, number, currency, usage->cost) && add_duration(all, number, 0, usage->latency_us) &&
           add_duration(all, number, 1, usage->ttft_us);
}

int64_t slots_count(const slots_t *all) { return all->slot_count; }
