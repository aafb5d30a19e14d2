#include "ids.h"

#include <stdlib.h>
#include <string.h>

enum { PLACES_MIN = 1024 };

/* A free place must be near: at five sixths full, an id that is not there takes some twenty looks, side by side. */
static int is_full(const ids_t *ids) { return (ids->taken + 1) * 6 > ids->places * 5; }

static size_t first_place(const ids_t *ids, digest_t digest) {
    return (size_t)(((unsigned __int128)digest.low * ids->places) >> 64);
}

static size_t place_of(const ids_t *ids, digest_t digest) {
    size_t at = first_place(ids, digest);
    while (ids->expiry[at] && (ids->low[at] != digest.low || ids->high[at] != (uint32_t)digest.high))
        if (++at == ids->places) at = 0;
    return at;
}

/* The number of an expiry; 0 if there are too many. */
static uint16_t number_of(ids_t *ids, uint32_t expiry_h) {
    for (size_t number = ids->expiry_count; number > 1; number--)
        if (ids->expiries_h[number - 1] == expiry_h) return (uint16_t)(number - 1);
    if (ids->expiry_count == EXPIRIES_MAX) return 0;
    ids->expiries_h[ids->expiry_count] = expiry_h;
    return (uint16_t)ids->expiry_count++;
}

static int put(ids_t *ids, digest_t digest, uint64_t print, uint32_t expiry_h) {
    uint16_t number = number_of(ids, expiry_h);
    if (!number) return 0;
    size_t at = place_of(ids, digest);
    ids->taken += !ids->expiry[at];
    ids->low[at] = digest.low;
    ids->high[at] = (uint32_t)digest.high;
    ids->prints[at] = print;
    ids->expiry[at] = number;
    return 1;
}

static int allocate(ids_t *ids, size_t places) {
    ids->low = malloc(places * sizeof *ids->low);
    ids->high = malloc(places * sizeof *ids->high);
    ids->prints = malloc(places * sizeof *ids->prints);
    ids->expiry = calloc(places, sizeof *ids->expiry);
    ids->places = places;
    ids->taken = 0;
    ids->expiry_count = 1;
    return ids->low && ids->high && ids->prints && ids->expiry;
}

static void release(ids_t *ids) {
    free(ids->low);
    free(ids->high);
    free(ids->prints);
    free(ids->expiry);
}

/* Move to a table of another size, without what expires at or before `until_h`. */
static int resize(ids_t *ids, size_t places, uint32_t until_h) {
    ids_t old = *ids;
    if (!allocate(ids, places)) {
        release(ids);
        *ids = old;
        return 0;
    }
    for (size_t at = 0; at < old.places; at++) {
        uint32_t expiry_h = old.expiries_h[old.expiry[at]];
        if (old.expiry[at] && expiry_h > until_h)
            put(ids, (digest_t){old.low[at], old.high[at]}, old.prints[at], expiry_h);
    }
    release(&old);
    return 1;
}

/* Move all ids to the file. Returns 0, and moves none, when there is no room for them. */
static int cool(ids_t *ids) {
    cold_id_t *all = malloc(ids->taken * sizeof *all);
    if (!all) return 0;
    size_t count = 0;
    for (size_t at = 0; at < ids->places; at++)
        if (ids->expiry[at])
            all[count++] =
                (cold_id_t){ids->low[at], ids->prints[at], ids->high[at], ids->expiries_h[ids->expiry[at]]};
    int done = cold_add(ids->cold, all, count);
    free(all);
    if (!done) return 0;
    memset(ids->expiry, 0, ids->places * sizeof *ids->expiry);
    ids->taken = 0;
    ids->expiry_count = 1;
    return 1;
}

static int make_room(ids_t *ids) {
    if (!is_full(ids)) return 1;
    if (ids->cold && ids->taken >= ids->hot && cool(ids)) return 1;
    return resize(ids, ids->places + ids->places / 4, 0);
}

ids_t *ids_new(const char *folder, size_t hot) {
    ids_t *ids = calloc(1, sizeof *ids);
    if (ids && !allocate(ids, PLACES_MIN)) {
        ids_free(ids);
        return NULL;
    }
    if (ids && folder) ids->cold = cold_new(folder);
    if (ids) ids->hot = hot;
    return ids;
}

void ids_free(ids_t *ids) {
    if (!ids) return;
    release(ids);
    cold_free(ids->cold);
    free(ids->log);
    free(ids);
}

int ids_find(const ids_t *ids, digest_t digest, uint64_t *print, uint32_t *expiry_h) {
    size_t at = place_of(ids, digest);
    if (!ids->expiry[at])
        return ids->cold ? cold_find(ids->cold, digest.low, (uint32_t)digest.high, print, expiry_h) : 0;
    *print = ids->prints[at];
    *expiry_h = ids->expiries_h[ids->expiry[at]];
    return 1;
}

int ids_add(ids_t *ids, digest_t digest, uint64_t print, uint32_t expiry_h) {
    if (!make_room(ids)) return 0;
    if (ids->logged == ids->log_places) {
        size_t places = ids->log_places ? 2 * ids->log_places : PLACES_MIN;
        counted_t *log = realloc(ids->log, places * sizeof *log);
        if (!log) return 0;
        ids->log = log;
        ids->log_places = places;
    }
    if (!put(ids, digest, print, expiry_h)) return 0;
    ids->log[ids->logged++] = (counted_t){digest, print, expiry_h};
    return 1;
}

int ids_restore(ids_t *ids, const digest_t *digests, const uint64_t *prints, size_t count, uint32_t expiry_h) {
    for (size_t at = 0; at < count; at++) {
        if (!make_room(ids) || !put(ids, digests[at], prints[at], expiry_h)) return 0;
    }
    return 1;
}

int ids_forget(ids_t *ids, uint32_t until_h) {
    size_t kept = 0;
    for (size_t at = 0; at < ids->places; at++) kept += ids->expiry[at] && ids->expiries_h[ids->expiry[at]] > until_h;
    size_t places = kept * 3 / 2;
    if (!resize(ids, places > PLACES_MIN ? places : PLACES_MIN, until_h)) return 0;
    kept = 0;
    for (size_t at = 0; at < ids->logged; at++)
        if (ids->log[at].expiry_h > until_h) ids->log[kept++] = ids->log[at];
    ids->logged = kept;
    if (ids->cold) cold_forget(ids->cold, until_h);
    return 1;
}

uint32_t ids_first_expiry(const ids_t *ids) {
    uint32_t first_h = ids->cold ? cold_first_expiry(ids->cold) : 0;
    for (size_t number = 1; number < ids->expiry_count; number++)
        if (!first_h || ids->expiries_h[number] < first_h) first_h = ids->expiries_h[number];
    return first_h;
}

size_t ids_count(const ids_t *ids) { return ids->taken + (ids->cold ? cold_count(ids->cold) : 0); }

size_t ids_in_memory(const ids_t *ids) { return ids->taken; }

size_t ids_logged(const ids_t *ids) { return ids->logged; }

size_t ids_take(const ids_t *ids, uint32_t expiry_h, digest_t *digests, uint64_t *prints) {
    size_t count = 0;
    for (size_t at = 0; at < ids->logged; at++)
        if (ids->log[at].expiry_h == expiry_h) {
            digests[count] = ids->log[at].digest;
            prints[count++] = ids->log[at].print;
        }
    return count;
}

void ids_take_end(ids_t *ids) { ids->logged = 0; }

size_t ids_expiries(const ids_t *ids, uint32_t *expiries, size_t limit) {
    size_t count = 0;
    for (size_t at = 0; at < ids->logged; at++) {
        uint32_t expiry_h = ids->log[at].expiry_h;
        size_t place = 0;
        while (place < count && expiries[place] != expiry_h) place++;
        if (place == count) {
            if (count == limit) return limit + 1;
            expiries[count++] = expiry_h;
        }
    }
    return count;
}
