#include "tables/latency.h"

enum { EVERY = -1, MINUTE_MS = 60000, HOUR_MS = 3600000, KEY_MAX = 3 * TEXT_MAX + 2 };
enum { HEAD = offsetof(slot_t, statuses) / sizeof(int64_t), COUNTS = sizeof(slot_t) / sizeof(int64_t) - HEAD };

typedef struct {
    map_key_t key; /* provider, model and currency */
    int64_t name, currency;
} item_t;

/* Durations of a slot in one bin; `which`: 0 latency, 1 ttft. */
typedef struct {
    int32_t slot, which, bin;
} measured_t;

/* A slot, and the window that it is a part of. */
typedef struct {
    window_t window;
    int64_t slot;
} member_t;

typedef struct {
    lane_t lane;
    int64_t bounds[BOUNDS], *edges;
    int32_t edge_count;
    map_t items, windows; /* a window's number is that of its slot */
    slot_t *slots;
    int64_t slot_count, slot_room;
    measured_t *measured;
    int64_t measured_count, measured_room;
    /* Only while they are taken: */
    member_t *members;
    int32_t *ends, *numbers, *counts, *dense;
    buffer_t packed;
} latency_lane_t;

/* The last edge that is not above it. Half of the edges are left out at each step, without a branch to guess. */
static int32_t bin_of(const latency_lane_t *lane, int64_t us) {
    const int64_t *low = lane->edges;
    for (int32_t left = lane->edge_count, half; left > 1; left -= half) {
        half = left / 2;
        low = low[half] <= us ? low + half : low;
    }
    return (int32_t)(low - lane->edges);
}

static void add_cost(slot_t *slot, unsigned __int128 more) {
    unsigned __int128 cost = ((unsigned __int128)slot->cost_high << 64 | slot->cost_low) + more;
    slot->cost_low = (uint64_t)cost;
    slot->cost_high = (uint64_t)(cost >> 64);
}

/* The slot of a minute and series, made when it is not there; NO_MEMORY. */
static int64_t slot_of(latency_lane_t *lane, const window_t *window) {
    slot_t *slots = with_room(lane->slots, lane->slot_count, &lane->slot_room, sizeof *slots);
    if (!slots) return NO_MEMORY;
    lane->slots = slots;
    const uint32_t key[] = {(uint32_t)(window->start_ms / MINUTE_MS), (uint32_t)window->name, (uint32_t)window->stream,
                            (uint32_t)window->currency};
    int64_t number = map_number(&lane->windows, key, sizeof key);
    if (number == lane->slot_count) slots[lane->slot_count++] = (slot_t){.window = *window};
    return number;
}

static int add_duration(latency_lane_t *lane, int64_t number, int which, int64_t us) {
    slot_t *slot = &lane->slots[number];
    if (us == UNMEASURED) return 1;
    if (us == UNUSABLE) {
        *(which ? &slot->ttfts_ignored : &slot->latencies_ignored) += 1;
        return 1;
    }
    durations_t *durations = which ? &slot->ttft : &slot->latency;
    int bucket = 0;
    while (bucket < BOUNDS && lane->bounds[bucket] < us) bucket++;
    durations->sum_us += us;
    durations->buckets[bucket]++;
    measured_t *measured = with_room(lane->measured, lane->measured_count, &lane->measured_room, sizeof *measured);
    if (!measured) return 0;
    lane->measured = measured;
    measured[lane->measured_count++] = (measured_t){(int32_t)number, which, bin_of(lane, us)};
    return 1;
}

static verdict_t count(lane_t *of, hour_t *hour, const void *event, int64_t offset) {
    static const char *const KNOWN[STATUSES] = {"success", "error", "timeout", "rate_limited"};
    (void)hour, (void)offset;
    latency_lane_t *lane = (latency_lane_t *)of;
    const llm_usage_t *usage = event;
    const struct llm_usage_data *data = &usage->data;
    int64_t other_tokens = data->total_tokens - data->prompt_tokens - data->completion_tokens;
    if (other_tokens < 0 || data->latency_ms == INEXACT || data->ttft_ms == INEXACT) return NOT_PLAIN;
    uint8_t key[KEY_MAX], *end = join(key, (span_t[]){data->provider, data->model, data->currency}, 3);
    int64_t found = map_find(&lane->items, key, (size_t)(end - key));
    if (found < 0) return NOT_PLAIN;
    const item_t *item = map_item(&lane->items, found);

    int64_t at_ms = usage->envelope.timestamp;
    int64_t number = slot_of(lane, &(window_t){0, at_ms - at_ms % MINUTE_MS, item->name, data->stream, item->currency});
    if (number < 0) return OUT_OF_MEMORY;
    slot_t *slot = &lane->slots[number];
    int status = 0;
    while (status < STATUSES && !equals(data->status, KNOWN[status])) status++;
    *(status < STATUSES ? &slot->statuses[status] : &slot->other_statuses) += 1;
    slot->cache_hits += data->cache_hit;
    slot->prompt_tokens += data->prompt_tokens;
    slot->completion_tokens += data->completion_tokens;
    slot->other_tokens += other_tokens;
    add_cost(slot, data->cost_usd.units);
    int is_done = add_duration(lane, number, 0, data->latency_ms) && add_duration(lane, number, 1, data->ttft_ms);
    return is_done ? COUNTED : OUT_OF_MEMORY;
}

static void free_latency(lane_t *of) {
    latency_lane_t *lane = (latency_lane_t *)of;
    map_free(&lane->items);
    map_free(&lane->windows);
    void *const all[] = {lane->edges,  lane->slots,  lane->measured, lane->members, lane->ends, lane->numbers,
                         lane->counts, lane->dense};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    buffer_free(&lane->packed);
}

lane_t *latency_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, const int64_t *edges,
                    int32_t edge_count, const int64_t bounds[BOUNDS]) {
    static const meter_t METER = {
        .event = &llm_usage,
        .owner = offsetof(llm_usage_t, envelope.team_id),
        .count = count,
        .free = free_latency,
    };
    lane_t *made = lane_new(&METER, sizeof(latency_lane_t), ids, partition, partitions, future_ms);
    latency_lane_t *lane = (latency_lane_t *)made;
    if (!lane) return NULL;
    lane->items.size = sizeof(item_t);
    lane->windows.size = sizeof(map_key_t);
    memcpy(lane->bounds, bounds, sizeof lane->bounds);
    lane->edge_count = edge_count;
    lane->edges = malloc((size_t)edge_count * sizeof *edges);
    lane->dense = calloc((size_t)edge_count, sizeof *lane->dense);
    if (lane->edges && lane->dense) {
        memcpy(lane->edges, edges, (size_t)edge_count * sizeof *edges);
        return made;
    }
    lane_free(made);
    return NULL;
}

int64_t latency_learn(lane_t *lane, const uint8_t *key, size_t length, int32_t name, int32_t currency) {
    map_t *items = &((latency_lane_t *)lane)->items;
    int64_t known = items->count, number = map_number(items, key, length);
    item_t *item = number == known ? map_item(items, number) : NULL;
    if (item) item->name = name, item->currency = currency;
    return number;
}

void latency_forget(lane_t *lane) { map_free(&((latency_lane_t *)lane)->items); }

int64_t latency_touched(const lane_t *lane) { return ((const latency_lane_t *)lane)->slot_count; }

/* An array of so many; as it was, and `is_full`, without memory. */
static void *resized(void *array, size_t count, size_t size, int *is_full) {
    void *grown = realloc(array, count * size + 1);
    *is_full |= !grown;
    return grown ? grown : array;
}

static int has_room(latency_lane_t *lane, size_t slots, size_t bins) {
    int is_full = 0;
    lane->members = resized(lane->members, slots, sizeof *lane->members, &is_full);
    lane->ends = resized(lane->ends, 2 * slots, sizeof *lane->ends, &is_full);
    lane->numbers = resized(lane->numbers, bins, sizeof *lane->numbers, &is_full);
    lane->counts = resized(lane->counts, bins, sizeof *lane->counts, &is_full);
    if ((int64_t)slots <= lane->slot_room) return !is_full;
    lane->slots = resized(lane->slots, slots, sizeof *lane->slots, &is_full);
    if (!is_full) lane->slot_room = (int64_t)slots;
    return !is_full;
}

static void add_bins(latency_lane_t *lane, int32_t from, int32_t until) {
    for (int32_t at = from; at < until; at++) lane->dense[lane->numbers[at]] += lane->counts[at];
}

/* The bins that were added, each once and counted, from `end` on; returns where they end. */
static int32_t put_bins(latency_lane_t *lane, int32_t from, int32_t until, int32_t end) {
    for (int32_t at = from; at < until; at++) {
        int32_t bin = lane->numbers[at], count = lane->dense[bin];
        if (!count) continue; /* it was put before */
        lane->numbers[end] = bin;
        lane->counts[end++] = count;
        lane->dense[bin] = 0;
    }
    return end;
}

/* The bins that were counted, by slot and `which`: how many each has, where each begins, then each to its place. */
static void sort_bins(latency_lane_t *lane) {
    int32_t *ends = lane->ends, spreads = 2 * (int32_t)lane->slot_count, start = 0, end = 0;
    memset(ends, 0, (size_t)spreads * sizeof *ends);
    for (int64_t i = 0; i < lane->measured_count; i++) ends[2 * lane->measured[i].slot + lane->measured[i].which]++;
    for (int32_t i = 0; i < spreads; i++) {
        int32_t count = ends[i];
        ends[i] = start;
        start += count;
    }
    for (int64_t i = 0; i < lane->measured_count; i++) {
        int32_t at = ends[2 * lane->measured[i].slot + lane->measured[i].which]++;
        lane->numbers[at] = lane->measured[i].bin;
        lane->counts[at] = 1;
    }
    for (int32_t i = 0, from = 0; i < spreads; i++) {
        int32_t until = ends[i];
        add_bins(lane, from, until);
        ends[i] = end = put_bins(lane, from, until, end);
        from = until;
    }
}

/* A slot that counts what some slots count together. */
static void merge(latency_lane_t *lane, const member_t *members, int64_t count) {
    int64_t number = lane->slot_count++;
    slot_t *slot = &lane->slots[number];
    *slot = (slot_t){.window = members->window};
    int64_t *sums = (int64_t *)slot + HEAD;
    for (int64_t i = 0; i < count; i++) {
        const slot_t *member = &lane->slots[members[i].slot];
        const int64_t *counts = (const int64_t *)member + HEAD;
        for (int at = 0; at < COUNTS; at++) sums[at] += counts[at];
        add_cost(slot, (unsigned __int128)member->cost_high << 64 | member->cost_low);
    }
    int32_t end = lane->ends[2 * number - 1];
    for (int which = 0; which < 2; which++) {
        for (int pass = 0; pass < 2; pass++)
            for (int64_t i = 0; i < count; i++) {
                int64_t spread = 2 * members[i].slot + which;
                int32_t from = spread ? lane->ends[spread - 1] : 0, until = lane->ends[spread];
                if (pass) end = put_bins(lane, from, until, end);
                else add_bins(lane, from, until);
            }
        lane->ends[2 * number + which] = end;
    }
}

static int by_window(const void *one, const void *two) {
    const int64_t *left = one, *right = two;
    for (size_t at = 0; at < sizeof(member_t) / sizeof(int64_t); at++)
        if (left[at] != right[at]) return left[at] < right[at] ? -1 : 1;
    return 0;
}

/* One slot more for every window that the first `count` slots are a part of. */
static void merge_windows(latency_lane_t *lane, int64_t count, int is_hour, int is_of_all) {
    member_t *members = lane->members;
    for (int64_t i = 0; i < count; i++) {
        window_t window = lane->slots[i].window;
        window.is_hour = is_hour;
        if (is_hour) window.start_ms -= window.start_ms % HOUR_MS;
        if (is_of_all) window.name = window.stream = EVERY;
        members[i] = (member_t){window, i};
    }
    qsort(members, (size_t)count, sizeof *members, by_window);
    for (int64_t from = 0, until; from < count; from = until) {
        for (until = from + 1; until < count; until++)
            if (memcmp(&members[until].window, &members[from].window, sizeof(window_t))) break;
        merge(lane, members + from, until - from);
    }
}

/* From here on `ends` are those of bytes. */
static int pack(latency_lane_t *lane) {
    buffer_t *packed = &lane->packed;
    packed->length = 0;
    for (int32_t spread = 0, at = 0; spread < 2 * lane->slot_count; spread++) {
        int32_t end = lane->ends[spread];
        put_map(packed, (size_t)(end - at));
        for (; at < end; at++) {
            put_number(packed, lane->numbers[at]);
            put_number(packed, lane->counts[at]);
        }
        lane->ends[spread] = (int32_t)packed->length;
    }
    return !packed->is_full;
}

int latency_take(lane_t *of, taken_t *taken) {
    latency_lane_t *lane = (latency_lane_t *)of;
    int64_t count = lane->slot_count;
    *taken = (taken_t){0};
    if (!count) return 1;
    if (!has_room(lane, 4 * (size_t)count, 4 * (size_t)lane->measured_count)) return NO_MEMORY;
    sort_bins(lane);
    merge_windows(lane, count, 0, 1);
    merge_windows(lane, count, 1, 1);
    merge_windows(lane, count, 1, 0);
    if (!pack(lane)) return NO_MEMORY;
    *taken = (taken_t){
        .slots = lane->slots,
        .ends = lane->ends,
        .packed = lane->packed.bytes,
        .slot_count = lane->slot_count,
        .packed_length = (int64_t)lane->packed.length,
    };
    map_clear(&lane->windows);
    lane->slot_count = lane->measured_count = 0;
    return 1;
}
