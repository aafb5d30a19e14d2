#define _GNU_SOURCE
#include "ids/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FILTER_BITS = 12,   /* an id; one look in a hundred is in vain */
    BLOCK_WORDS = 8,    /* 512 bits: a filter is asked with one read of memory */
    FILTER_LOOKS = 6,
    WINDOW = 32,        /* places read at once; two are enough on average */
    ALIGNMENT = 4096,
};

typedef struct {
    uint32_t expiry_h;
    size_t count;
} count_t;

typedef struct {
    int64_t start; /* in the file */
    size_t places;
    uint64_t *filter;
    size_t blocks;
    count_t *counts; /* of its ids, by expiry */
    size_t expiries;
} part_of_file_t;

struct spill {
    int file;
    int64_t end;
    part_of_file_t *parts;
    size_t count;
    uint32_t until_h; /* what expires at or before it is forgotten */
};

spill_t *spill_new(const char *folder) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/ids-XXXXXX", folder) >= (int)sizeof path) return NULL;
    spill_t *spill = calloc(1, sizeof *spill);
    if (!spill) return NULL;
    spill->file = mkostemp(path, O_CLOEXEC);
    if (spill->file < 0) {
        free(spill);
        return NULL;
    }
    unlink(path);
    return spill;
}

static void drop(spill_t *spill, part_of_file_t *part) {
    fallocate(spill->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, part->start,
              (off_t)(part->places * sizeof(spill_id_t))); /* where it cannot, the room comes back at the end */
    free(part->filter);
    free(part->counts);
}

void spill_free(spill_t *spill) {
    if (!spill) return;
    for (size_t i = 0; i < spill->count; i++) {
        free(spill->parts[i].filter);
        free(spill->parts[i].counts);
    }
    free(spill->parts);
    close(spill->file);
    free(spill);
}

static size_t spread(uint64_t hash, size_t over) { return (size_t)(((unsigned __int128)hash * over) >> 64); }

static uint64_t *block_of(const part_of_file_t *part, uint64_t low, uint32_t high) {
    uint64_t hash = (low ^ (uint64_t)high << 32) * 0x9E3779B97F4A7C15u;
    return part->filter + BLOCK_WORDS * spread(hash, part->blocks);
}

/* Nine bits for each look. */
static uint64_t looks_of(uint64_t low, uint32_t high) {
    uint64_t hash = (low + high) * 0xC2B2AE3D27D4EB4Fu;
    return hash ^ hash >> 29;
}

static void pass(part_of_file_t *part, const spill_id_t *id) {
    uint64_t *block = block_of(part, id->low, id->high), looks = looks_of(id->low, id->high);
    for (int look = 0; look < FILTER_LOOKS; look++, looks >>= 9) block[looks >> 6 & 7] |= 1ull << (looks & 63);
}

static int may_have(const part_of_file_t *part, uint64_t low, uint32_t high) {
    const uint64_t *block = block_of(part, low, high);
    uint64_t looks = looks_of(low, high);
    for (int look = 0; look < FILTER_LOOKS; look++, looks >>= 9)
        if (!(block[looks >> 6 & 7] >> (looks & 63) & 1)) return 0;
    return 1;
}

static int tally(part_of_file_t *part, uint32_t expiry_h) {
    for (size_t i = part->expiries; i > 0; i--)
        if (part->counts[i - 1].expiry_h == expiry_h) {
            part->counts[i - 1].count++;
            return 1;
        }
    count_t *counts = realloc(part->counts, (part->expiries + 1) * sizeof *counts);
    if (!counts) return 0;
    part->counts = counts;
    counts[part->expiries++] = (count_t){expiry_h, 1};
    return 1;
}

static int write_whole(int file, const void *data, size_t size, int64_t at) {
    const char *from = data;
    while (size) {
        ssize_t done = pwrite(file, from, size, at);
        if (done < 0 && errno == EINTR) continue; /* a signal came first: nothing was written */
        if (done <= 0) return 0;
        from += done;
        at += done;
        size -= (size_t)done;
    }
    return 1;
}

static int read_whole(int file, void *data, size_t size, int64_t at) {
    char *to = data;
    while (size) {
        ssize_t done = pread(file, to, size, at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return 0;
        to += done;
        at += done;
        size -= (size_t)done;
    }
    return 1;
}

int spill_add(spill_t *spill, const spill_id_t *ids, size_t count) {
    part_of_file_t part = {.start = spill->end, .places = count * 3 / 2 + 1, .blocks = count * FILTER_BITS / 512 + 1};
    spill_id_t *places = calloc(part.places, sizeof *places);
    part.filter = calloc(part.blocks * BLOCK_WORDS, sizeof *part.filter);
    part_of_file_t *parts = realloc(spill->parts, (spill->count + 1) * sizeof *parts);
    if (parts) spill->parts = parts;
    int fine = places && part.filter && parts;
    for (size_t i = 0; fine && i < count; i++) {
        size_t at = spread(ids[i].low, part.places);
        while (places[at].expiry_h) at = at + 1 == part.places ? 0 : at + 1;
        places[at] = ids[i];
        pass(&part, &ids[i]);
        fine = tally(&part, ids[i].expiry_h);
    }
    size_t size = part.places * sizeof *places;
    fine = fine && write_whole(spill->file, places, size, part.start);
    free(places);
    if (!fine) {
        free(part.filter);
        free(part.counts);
        return 0;
    }
    spill->parts[spill->count++] = part;
    spill->end = (int64_t)((size_t)part.start + size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return 1;
}

/* As `spill_find`, in one part. */
static int find_in(const spill_t *spill, const part_of_file_t *part, uint64_t low, uint32_t high, spill_id_t *found) {
    spill_id_t window[WINDOW];
    size_t at = spread(low, part->places);
    for (size_t looked = 0; looked < part->places;) {
        size_t count = part->places - at < WINDOW ? part->places - at : WINDOW;
        if (!read_whole(spill->file, window, count * sizeof *window, part->start + (int64_t)(at * sizeof *window)))
            return -1;
        for (size_t i = 0; i < count; i++) {
            if (!window[i].expiry_h) return 0;
            if (window[i].low == low && window[i].high == high) {
                *found = window[i];
                return window[i].expiry_h > spill->until_h;
            }
        }
        looked += count;
        at = at + count == part->places ? 0 : at + count;
    }
    return 0;
}

int spill_find(const spill_t *spill, uint64_t low, uint32_t high, uint64_t *print, uint32_t *expiry_h) {
    spill_id_t id;
    for (size_t i = spill->count; i > 0; i--) {
        const part_of_file_t *part = &spill->parts[i - 1];
        int known = may_have(part, low, high) ? find_in(spill, part, low, high, &id) : 0;
        if (known < 0) return -1;
        if (known) {
            *print = id.print;
            *expiry_h = id.expiry_h;
            return 1;
        }
    }
    return 0;
}

static size_t alive(const part_of_file_t *part, uint32_t until_h) {
    size_t count = 0;
    for (size_t i = 0; i < part->expiries; i++) count += part->counts[i].expiry_h > until_h ? part->counts[i].count : 0;
    return count;
}

void spill_forget(spill_t *spill, uint32_t until_h) {
    size_t kept = 0;
    if (until_h > spill->until_h) spill->until_h = until_h;
    for (size_t i = 0; i < spill->count; i++) {
        if (alive(&spill->parts[i], spill->until_h))
            spill->parts[kept++] = spill->parts[i];
        else
            drop(spill, &spill->parts[i]);
    }
    spill->count = kept;
    if (!kept && spill->end && !ftruncate(spill->file, 0)) spill->end = 0;
}

size_t spill_count(const spill_t *spill) {
    size_t count = 0;
    for (size_t i = 0; i < spill->count; i++) count += alive(&spill->parts[i], spill->until_h);
    return count;
}

uint32_t spill_first_expiry(const spill_t *spill) {
    uint32_t first_h = 0;
    for (size_t i = 0; i < spill->count; i++)
        for (size_t j = 0; j < spill->parts[i].expiries; j++) {
            uint32_t expiry_h = spill->parts[i].counts[j].expiry_h;
            if (expiry_h > spill->until_h && (!first_h || expiry_h < first_h)) first_h = expiry_h;
        }
    return first_h;
}
