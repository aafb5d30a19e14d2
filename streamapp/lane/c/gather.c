#include "gather.h"

#include <stdlib.h>
#include <string.h>

enum { HOUR_MS = 3600000, EVERY = -1, COUNTS = sizeof(slot_sum_t) / sizeof(int64_t) - 8 };

#define NO_MEMORY (-2)

_Static_assert(offsetof(slot_sum_t, statuses) == 8 * sizeof(int64_t), "the counts stand behind eight numbers");

static int64_t hour_of(const slot_sum_t *slot) { return slot->start_ms - slot->start_ms % HOUR_MS; }

static int by_minute(const void *one, const void *two) {
    const slot_sum_t *left = *(slot_sum_t *const *)one, *right = *(slot_sum_t *const *)two;
    return (left->start_ms > right->start_ms) - (left->start_ms < right->start_ms);
}

static int by_hour_and_series(const void *one, const void *two) {
    const slot_sum_t *left = *(slot_sum_t *const *)one, *right = *(slot_sum_t *const *)two;
    if (hour_of(left) != hour_of(right)) return hour_of(left) < hour_of(right) ? -1 : 1;
    if (left->name != right->name) return left->name < right->name ? -1 : 1;
    return (left->stream > right->stream) - (left->stream < right->stream);
}

static int has_room(slots_t *all, int64_t slots, int64_t bins) {
    if (slots > all->slot_room) {
        slot_sum_t *grown = realloc(all->slots, (size_t)slots * sizeof *grown);
        if (!grown) return 0;
        all->slots = grown;
        all->slot_room = slots;
    }
    if (2 * slots > all->end_room) {
        int32_t *ends = realloc(all->ends, (size_t)(2 * slots) * sizeof *ends);
        if (ends) all->ends = ends;
        slot_sum_t **order = realloc(all->order, (size_t)slots * sizeof *order);
        if (order) all->order = order;
        if (!ends || !order) return 0;
        all->end_room = 2 * slots;
    }
    if (bins > all->number_room) {
        int32_t *numbers = realloc(all->numbers, (size_t)bins * sizeof *numbers);
        if (numbers) all->numbers = numbers;
        int32_t *counts = realloc(all->counts, (size_t)bins * sizeof *counts);
        if (counts) all->counts = counts;
        if (!numbers || !counts) return 0;
        all->number_room = bins;
    }
    return 1;
}

/* The bins that were counted, by slot and `which`: how many each has, where each begins, then each to its place. */
static void sort_bins(slots_t *all) {
    int64_t spreads = 2 * all->slot_count;
    int32_t *ends = all->ends, start = 0;
    memset(ends, 0, (size_t)spreads * sizeof *ends);
    for (int64_t i = 0; i < all->bin_count; i++) ends[2 * all->bins[i].slot + all->bins[i].which]++;
    for (int64_t i = 0; i < spreads; i++) {
        int32_t count = ends[i];
        ends[i] = start;
        start += count;
    }
    for (int64_t i = 0; i < all->bin_count; i++) {
        int32_t at = ends[2 * all->bins[i].slot + all->bins[i].which]++;
        all->numbers[at] = all->bins[i].bin;
        all->counts[at] = all->bins[i].count;
    }
}

/* The bins of some slots together, behind all that there are: returns where they end. */
static int32_t merge_bins(slots_t *all, slot_sum_t *const *members, int64_t count, int which, int32_t end) {
    int32_t low = all->edge_count, high = -1;
    for (int64_t i = 0; i < count; i++) {
        int64_t spread = 2 * (members[i] - all->slots) + which;
        for (int32_t at = spread ? all->ends[spread - 1] : 0; at < all->ends[spread]; at++) {
            int32_t bin = all->numbers[at];
            all->dense[bin] += all->counts[at];
            if (bin < low) low = bin;
            if (bin > high) high = bin;
        }
    }
    for (int32_t bin = low; bin <= high; bin++)
        if (all->dense[bin]) {
            all->numbers[end] = bin;
            all->counts[end++] = all->dense[bin];
            all->dense[bin] = 0;
        }
    return end;
}

/* A slot that counts what some slots count together. Returns 0 without memory. */
static int merge(slots_t *all, slot_sum_t *const *members, int64_t count, const slot_sum_t *wanted) {
    int64_t number = all->slot_count++;
    slot_sum_t *slot = &all->slots[number];
    *slot = *wanted;
    slot->currency = members[0]->currency;
    slot->more_costs = -1;
    int64_t *sums = slot->statuses;
    for (int64_t i = 0; i < count; i++) {
        const slot_sum_t *member = members[i];
        const int64_t *counts = member->statuses;
        for (int at = 0; at < COUNTS; at++) sums[at] += counts[at];
        unsigned __int128 cost = (unsigned __int128)member->cost_high << 64 | member->cost_low;
        if (!slots_pay(all, number, member->currency, cost)) return 0;
        for (int64_t at = member->more_costs; at >= 0; at = all->costs[at].next) {
            const cost_t further = all->costs[at];
            cost = (unsigned __int128)further.high << 64 | further.low;
            if (!slots_pay(all, number, further.currency, cost)) return 0;
        }
    }
    int32_t end = all->ends[2 * number - 1];
    for (int which = 0; which < 2; which++) end = all->ends[2 * number + which] = merge_bins(all, members, count, which, end);
    return 1;
}

/* One slot for every run of slots that are the same to `window`. */
static int merge_runs(slots_t *all, int64_t count, slot_sum_t (*window)(const slot_sum_t *)) {
    for (int64_t from = 0, until; from < count; from = until) {
        const slot_sum_t wanted = window(all->order[from]);
        for (until = from + 1; until < count; until++) {
            const slot_sum_t other = window(all->order[until]);
            if (other.start_ms != wanted.start_ms || other.name != wanted.name || other.stream != wanted.stream) break;
        }
        if (!merge(all, all->order + from, until - from, &wanted)) return 0;
    }
    return 1;
}

static slot_sum_t minute_of_all(const slot_sum_t *slot) {
    return (slot_sum_t){.start_ms = slot->start_ms, .name = EVERY, .stream = EVERY};
}

static slot_sum_t hour_of_all(const slot_sum_t *slot) {
    return (slot_sum_t){.is_hour = 1, .start_ms = hour_of(slot), .name = EVERY, .stream = EVERY};
}

static slot_sum_t hour_of_series(const slot_sum_t *slot) {
    return (slot_sum_t){.is_hour = 1, .start_ms = hour_of(slot), .name = slot->name, .stream = slot->stream};
}

/* From here on `ends` are those of bytes. */
static int pack(slots_t *all) {
    buffer_t *packed = &all->packed;
    packed->length = 0;
    for (int32_t spread = 0, at = 0; spread < 2 * all->slot_count; spread++) {
        int32_t end = all->ends[spread];
        put_map(packed, (size_t)(end - at));
        for (; at < end; at++) {
            put_number(packed, all->numbers[at]);
            put_number(packed, all->counts[at]);
        }
        all->ends[spread] = (int32_t)packed->length;
    }
    return !packed->is_full;
}

int slots_gather(slots_t *all, gathered_t *gathered) {
    int64_t count = all->slot_count;
    *gathered = (gathered_t){0};
    if (!count) return 1;
    if (!has_room(all, 4 * count, 4 * all->bin_count)) return NO_MEMORY;
    sort_bins(all);
    for (int64_t i = 0; i < count; i++) all->order[i] = &all->slots[i];
    qsort(all->order, (size_t)count, sizeof *all->order, by_minute);
    if (!merge_runs(all, count, minute_of_all) || !merge_runs(all, count, hour_of_all)) return NO_MEMORY;
    qsort(all->order, (size_t)count, sizeof *all->order, by_hour_and_series);
    if (!merge_runs(all, count, hour_of_series) || !pack(all)) return NO_MEMORY;
    *gathered = (gathered_t){
        .slots = all->slots,
        .costs = all->costs,
        .ends = all->ends,
        .packed = all->packed.bytes,
        .slot_count = all->slot_count,
        .cost_count = all->cost_count,
        .packed_length = (int64_t)all->packed.length,
    };
    memset(all->slot_places.at, 0, all->slot_places.count * sizeof *all->slot_places.at);
    if (all->bin_count) memset(all->bin_places.at, 0, all->bin_places.count * sizeof *all->bin_places.at);
    all->slot_count = all->cost_count = all->bin_count = 0;
    return 1;
}
