#include "ids.h"

#include <stdlib.h>
#include <string.h>

enum { PLACES_MIN = 1024 };

/* A free place must be near: at four fifths full, an id that is not there takes some ten looks. */
static int is_full(const ids_t *ids) { return (ids->taken + 1) * 5 > ids->places * 4; }

static size_t first_place(const ids_t *ids, digest_t digest) {
    return (size_t)(((unsigned __int128)digest.low * ids->places) >> 64);
}

static size_t place_of(const ids_t *ids, digest_t digest) {
    size_t at = first_place(ids, digest);
    while (ids->expiry_h[at] && (ids->low[at] != digest.low || ids->high[at] != digest.high))
        if (++at == ids->places) at = 0;
    return at;
}

static void put(ids_t *ids, digest_t digest, uint64_t print, uint32_t expiry_h) {
    size_t at = place_of(ids, digest);
    ids->taken += !ids->expiry_h[at];
    ids->low[at] = digest.low;
    ids->high[at] = digest.high;
    ids->prints[at] = print;
    ids->expiry_h[at] = expiry_h;
    if (!ids->first_h || expiry_h < ids->first_h) ids->first_h = expiry_h;
}

static int allocate(ids_t *ids, size_t places) {
    ids->low = malloc(places * 8);
    ids->high = malloc(places * 8);
    ids->prints = malloc(places * 8);
    ids->expiry_h = calloc(places, 4);
    ids->places = places;
    ids->taken = 0;
    ids->first_h = 0;
    return ids->low && ids->high && ids->prints && ids->expiry_h;
}

static void release(ids_t *ids) {
    free(ids->low);
    free(ids->high);
    free(ids->prints);
    free(ids->expiry_h);
}

/* Move to a table of another size, without what expires at or before `until_h`. */
static int resize(ids_t *ids, size_t places, uint32_t until_h) {
    ids_t old = *ids;
    if (!allocate(ids, places)) {
        release(ids);
        *ids = old;
        return 0;
    }
    for (size_t at = 0; at < old.places; at++)
        if (old.expiry_h[at] > until_h)
            put(ids, (digest_t){old.low[at], old.high[at]}, old.prints[at], old.expiry_h[at]);
    release(&old);
    return 1;
}

static int make_room(ids_t *ids) { return !is_full(ids) || resize(ids, ids->places + ids->places / 4, 0); }

ids_t *ids_new(void) {
    ids_t *ids = calloc(1, sizeof *ids);
    if (ids && !allocate(ids, PLACES_MIN)) {
        ids_free(ids);
        return NULL;
    }
    return ids;
}

void ids_free(ids_t *ids) {
    if (!ids) return;
    release(ids);
    free(ids->log);
    free(ids);
}

int ids_find(const ids_t *ids, digest_t digest, uint64_t *print, uint32_t *expiry_h) {
    size_t at = place_of(ids, digest);
    if (!ids->expiry_h[at]) return 0;
    *print = ids->prints[at];
    *expiry_h = ids->expiry_h[at];
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
    put(ids, digest, print, expiry_h);
    ids->log[ids->logged++] = (counted_t){digest, print, expiry_h};
    return 1;
}

int ids_restore(ids_t *ids, const digest_t *digests, const uint64_t *prints, size_t count, uint32_t expiry_h) {
    for (size_t at = 0; at < count; at++) {
        if (!make_room(ids)) return 0;
        put(ids, digests[at], prints[at], expiry_h);
    }
    return 1;
}

int ids_forget(ids_t *ids, uint32_t until_h) {
    size_t kept = 0;
    for (size_t at = 0; at < ids->places; at++) kept += ids->expiry_h[at] > until_h;
    size_t places = kept * 5 / 3;
    if (!resize(ids, places > PLACES_MIN ? places : PLACES_MIN, until_h)) return 0;
    kept = 0;
    for (size_t at = 0; at < ids->logged; at++)
        if (ids->log[at].expiry_h > until_h) ids->log[kept++] = ids->log[at];
    ids->logged = kept;
    return 1;
}

uint32_t ids_first_expiry(const ids_t *ids) { return ids->first_h; }

size_t ids_count(const ids_t *ids) { return ids->taken; }

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
