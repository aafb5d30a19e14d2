#include "ids/ids.h"

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
    spill_id_t *all = malloc(ids->taken * sizeof *all);
    if (!all) return 0;
    size_t count = 0;
    for (size_t at = 0; at < ids->places; at++)
        if (ids->expiry[at])
            all[count++] =
                (spill_id_t){ids->low[at], ids->prints[at], ids->high[at], ids->expiries_h[ids->expiry[at]]};
    int done = spill_add(ids->spill, all, count);
    free(all);
    if (!done) return 0;
    memset(ids->expiry, 0, ids->places * sizeof *ids->expiry);
    ids->taken = 0;
    ids->expiry_count = 1;
    return 1;
}

static int make_room(ids_t *ids) {
    if (!is_full(ids)) return 1;
    if (ids->spill && ids->taken >= ids->hot && cool(ids)) return 1;
    return resize(ids, ids->places + ids->places / 4, 0);
}

ids_t *ids_new(const uint8_t *secret, const char *folder, size_t hot) {
    ids_t *ids = calloc(1, sizeof *ids);
    if (ids) secret_make(&ids->secret, secret);
    if (ids && !allocate(ids, PLACES_MIN)) {
        ids_free(ids);
        return NULL;
    }
    if (ids && folder) ids->spill = spill_new(folder);
    if (ids) ids->hot = hot;
    return ids;
}

void ids_free(ids_t *ids) {
    if (!ids) return;
    release(ids);
    spill_free(ids->spill);
    free(ids->others);
    free(ids->log);
    free(ids);
}

/* Returns 1 when the digest is remembered, 0 when it is not, -1 when the file cannot be read. */
static int find(const ids_t *ids, digest_t digest, uint64_t *print) {
    uint32_t expiry_h;
    size_t at = place_of(ids, digest);
    if (!ids->expiry[at])
        return ids->spill ? spill_find(ids->spill, digest.low, (uint32_t)digest.high, print, &expiry_h) : 0;
    *print = ids->prints[at];
    return 1;
}

static known_t known(int found, uint64_t print, uint64_t own) {
    if (found <= 0) return found < 0 ? ID_UNREADABLE : ID_NEW;
    return print == own ? ID_SAME : ID_OTHER;
}

/* As `ids_look`, among the ids under another secret. */
static known_t look_under(const ids_t *ids, const other_t *other, const uint8_t *id, size_t id_length,
                          const uint8_t *value, size_t length) {
    uint64_t print = 0;
    digest_t digest = other->is_old ? wrapped(&ids->secret, old_digest_of(id, id_length))
                                    : digest_of(&other->secret, id, id_length);
    int found = find(ids, digest, &print);
    if (found <= 0) return known(found, 0, 0);
    return known(found, print, other->is_old ? old_print_of(value, length) : print_of(&other->secret, value, length));
}

known_t ids_look(const ids_t *ids, const uint8_t *id, size_t id_length, const uint8_t *value, size_t length,
                 mark_t *mark) {
    uint64_t print = 0;
    *mark = (mark_t){digest_of(&ids->secret, id, id_length), print_of(&ids->secret, value, length)};
    int found = find(ids, mark->digest, &print);
    known_t all = known(found, print, mark->print);
    for (size_t at = 0; at < ids->other_count && all == ID_NEW; at++)
        all = look_under(ids, &ids->others[at], id, id_length, value, length);
    return all;
}

int ids_add(ids_t *ids, const mark_t *mark, uint32_t expiry_h) {
    if (!make_room(ids)) return 0;
    if (ids->logged == ids->log_places) {
        size_t places = ids->log_places ? 2 * ids->log_places : PLACES_MIN;
        counted_t *log = realloc(ids->log, places * sizeof *log);
        if (!log) return 0;
        ids->log = log;
        ids->log_places = places;
    }
    if (!put(ids, mark->digest, mark->print, expiry_h)) return 0;
    ids->log[ids->logged++] = (counted_t){*mark, expiry_h};
    return 1;
}

int ids_add_event(ids_t *ids, const uint8_t *id, size_t id_length, const uint8_t *value, size_t length,
                  uint32_t expiry_h) {
    mark_t mark = {digest_of(&ids->secret, id, id_length), print_of(&ids->secret, value, length)};
    return ids_add(ids, &mark, expiry_h);
}

/* That ids are under another secret until this hour. Returns 0 without memory. */
static int note_other(ids_t *ids, const stored_t *stored) {
    int is_old = !stored->secret_length;
    for (size_t at = 0; at < ids->other_count; at++) {
        other_t *other = &ids->others[at];
        if (other->is_old != is_old || (!is_old && memcmp(other->secret.bytes, stored->secret, SECRET_BYTES))) continue;
        if (other->until_h < stored->expiry_h) other->until_h = stored->expiry_h;
        return 1;
    }
    other_t *others = realloc(ids->others, (ids->other_count + 1) * sizeof *others);
    if (!others) return 0;
    ids->others = others;
    other_t *other = &others[ids->other_count++];
    *other = (other_t){.is_old = is_old, .until_h = stored->expiry_h};
    if (!is_old) secret_make(&other->secret, stored->secret);
    return 1;
}

int ids_restore(ids_t *ids, const stored_t *stored) {
    size_t count = stored->prints_length / PRINT_BYTES;
    if (stored->secret_length && stored->secret_length != SECRET_BYTES) return -1;
    if (stored->prints_length % PRINT_BYTES || stored->digests_length != count * DIGEST_BYTES) return -1;
    int is_own = stored->secret_length && !memcmp(ids->secret.bytes, stored->secret, SECRET_BYTES);
    if (count && !is_own && !note_other(ids, stored)) return 0;
    for (size_t at = 0; at < count; at++) {
        digest_t digest;
        uint64_t print;
        memcpy(&digest, stored->digests + at * DIGEST_BYTES, DIGEST_BYTES);
        memcpy(&print, stored->prints + at * PRINT_BYTES, PRINT_BYTES);
        if (!stored->secret_length) digest = wrapped(&ids->secret, digest);
        if (!make_room(ids) || !put(ids, digest, print, stored->expiry_h)) return 0;
    }
    return 1;
}

size_t ids_secrets(const ids_t *ids) { return 1 + ids->other_count; }

int ids_forget(ids_t *ids, uint32_t until_h) {
    size_t kept = 0;
    for (size_t at = 0; at < ids->places; at++) kept += ids->expiry[at] && ids->expiries_h[ids->expiry[at]] > until_h;
    size_t places = kept * 3 / 2;
    if (!resize(ids, places > PLACES_MIN ? places : PLACES_MIN, until_h)) return 0;
    kept = 0;
    for (size_t at = 0; at < ids->logged; at++)
        if (ids->log[at].expiry_h > until_h) ids->log[kept++] = ids->log[at];
    ids->logged = kept;
    kept = 0;
    for (size_t at = 0; at < ids->other_count; at++)
        if (ids->others[at].until_h > until_h) ids->others[kept++] = ids->others[at];
    ids->other_count = kept;
    if (ids->spill) spill_forget(ids->spill, until_h);
    return 1;
}

uint32_t ids_first_expiry(const ids_t *ids) {
    uint32_t first_h = ids->spill ? spill_first_expiry(ids->spill) : 0;
    for (size_t number = 1; number < ids->expiry_count; number++)
        if (!first_h || ids->expiries_h[number] < first_h) first_h = ids->expiries_h[number];
    return first_h;
}

size_t ids_count(const ids_t *ids) { return ids->taken + (ids->spill ? spill_count(ids->spill) : 0); }

size_t ids_in_memory(const ids_t *ids) { return ids->taken; }

size_t ids_logged(const ids_t *ids) { return ids->logged; }

size_t ids_take(const ids_t *ids, uint32_t expiry_h, uint8_t *digests, uint8_t *prints) {
    size_t count = 0;
    for (size_t at = 0; at < ids->logged; at++)
        if (ids->log[at].expiry_h == expiry_h) {
            memcpy(digests + count * DIGEST_BYTES, &ids->log[at].mark.digest, DIGEST_BYTES);
            memcpy(prints + count++ * PRINT_BYTES, &ids->log[at].mark.print, PRINT_BYTES);
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
