/* The ids a partition remembers: digest → fingerprint and expiry, 22 bytes a place, open addressing. When they are more
 * than memory shall hold, all of them go to a file at once (`cold.h`), and the table begins anew.
 *
 * Of a digest 96 bits are compared: among five million ids, two share them with a probability of 10^-16. Expiries are
 * full hours since the epoch; a place holds the number of one, 0 if it is free. What was added since the last
 * `ids_take_end` also stands in a log, whole and in the order of counting: that is what the chunk stores. */
#ifndef IDS_H
#define IDS_H

#include "cold.h"

enum { EXPIRIES_MAX = 4096 }; /* half a year of full hours: far more than any remembered id can live */

typedef struct {
    uint64_t low, high;
} digest_t;

typedef struct {
    digest_t digest;
    uint64_t print;
    uint32_t expiry_h;
} counted_t;

typedef struct {
    uint64_t *low, *prints;
    uint32_t *high;
    uint16_t *expiry;
    size_t places, taken;
    uint32_t expiries_h[EXPIRIES_MAX]; /* by their numbers; [0] is that of free places */
    size_t expiry_count;
    counted_t *log;
    size_t logged, log_places;
    cold_t *cold; /* NULL: all stay in memory */
    size_t hot;   /* so many ids stay in memory, at least */
} ids_t;

/* Ids beyond `hot` go to a file in `folder`; with NULL, or where none can be written, all stay in memory. */
ids_t *ids_new(const char *folder, size_t hot);
void ids_free(ids_t *ids);

/* The fingerprint and expiry of a remembered id. Returns 1 when it is remembered, 0 when it is not, -1 when that cannot
 * be known because the file cannot be read. */
int ids_find(const ids_t *ids, digest_t digest, uint64_t *print, uint32_t *expiry_h);

/* Remember an id that is not remembered, and log it. Returns 0 when there is no memory, or too
 * many expiries. */
int ids_add(ids_t *ids, digest_t digest, uint64_t print, uint32_t expiry_h);

/* Remember stored ids again, without logging them; `digests` are pairs, back to back. Returns 0 without memory. */
int ids_restore(ids_t *ids, const digest_t *digests, const uint64_t *prints, size_t count, uint32_t expiry_h);

/* Forget what expires at or before the hour, also from the log. Returns 0 when there is no memory. */
int ids_forget(ids_t *ids, uint32_t until_h);

/* The lowest expiry of a remembered id; 0 when there is none. */
uint32_t ids_first_expiry(const ids_t *ids);

size_t ids_count(const ids_t *ids);
size_t ids_in_memory(const ids_t *ids);
size_t ids_logged(const ids_t *ids);

/* Copy the logged ids of one expiry; returns how many. `ids_take_end` empties the log. */
size_t ids_take(const ids_t *ids, uint32_t expiry_h, digest_t *digests, uint64_t *prints);
void ids_take_end(ids_t *ids);

/* The expiries in the log, in the order of their first ids; returns how many, or more than `limit`. */
size_t ids_expiries(const ids_t *ids, uint32_t *expiries, size_t limit);

#endif
