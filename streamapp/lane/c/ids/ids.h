/* The ids a partition remembers: digest → fingerprint and expiry, 22 bytes a place, open addressing. When they are more
 * than memory shall hold, all of them go to a file at once (`spill.h`), and the table begins anew.
 *
 * Of a digest 96 bits are compared: among five million ids, two share them with a probability of 10^-16. Expiries are
 * full hours since the epoch; a place holds the number of one, 0 if it is free. What was added since the last
 * `ids_take_end` also stands in a log, whole and in the order of counting: that is what the chunk stores.
 *
 * Digests and fingerprints are under the table's secret (marks.h). Ids that were stored under another one (rows that came
 * from another partition), or before there were secrets, are looked for under that until the last of them expires. */
#ifndef IDS_H
#define IDS_H

#include "ids/spill.h"
#include "ids/marks.h"

enum { EXPIRIES_MAX = 4096 }; /* half a year of full hours: far more than any remembered id can live */

typedef struct {
    mark_t mark;
    uint32_t expiry_h;
} counted_t;

/* Another secret that remembered ids are under; `is_old`: none, they are from before there were secrets. */
typedef struct {
    secret_t secret;
    int is_old;
    uint32_t until_h; /* when the last of its ids expires */
} other_t;

/* What is known of an event. OTHER: its id is remembered, from an event of other bytes. */
typedef enum { ID_UNREADABLE = -1, ID_NEW, ID_SAME, ID_OTHER } known_t;

typedef struct {
    secret_t secret;
    other_t *others;
    size_t other_count;
    uint64_t *low, *prints;
    uint32_t *high;
    uint16_t *expiry;
    size_t places, taken;
    uint32_t expiries_h[EXPIRIES_MAX]; /* by their numbers; [0] is that of free places */
    size_t expiry_count;
    counted_t *log;
    size_t logged, log_places;
    spill_t *spill; /* NULL: all stay in memory */
    size_t hot;   /* so many ids stay in memory, at least */
} ids_t;

/* `secret` has SECRET_BYTES. Ids beyond `hot` go to a file in `folder`; with NULL, or where none can be written, all stay
 * in memory. */
ids_t *ids_new(const uint8_t *secret, const char *folder, size_t hot);
void ids_free(ids_t *ids);

/* What is known of an event, by its id and its bytes; ID_UNREADABLE when that cannot be known because the file cannot be
 * read. `mark` is what `ids_add` remembers. */
known_t ids_look(const ids_t *ids, const uint8_t *id, size_t id_length, const uint8_t *value, size_t length, mark_t *mark);

/* Remember an id that is not remembered, and log it. Returns 0 when there is no memory, or too many expiries. */
int ids_add(ids_t *ids, const mark_t *mark, uint32_t expiry_h);

/* The same for an event that was looked for before: its mark is made anew. */
int ids_add_event(ids_t *ids, const uint8_t *id, size_t id_length, const uint8_t *value, size_t length,
                  uint32_t expiry_h);

/* Ids as they were stored. `secret` may be empty: they are from before there were secrets. `digests` and `prints` lie back
 * to back; the lengths are in bytes. */
typedef struct {
    const uint8_t *secret, *digests, *prints;
    size_t secret_length, digests_length, prints_length;
    uint32_t expiry_h;
} stored_t;

/* Remember stored ids again, without logging them. Returns 1; 0 without memory; -1, and remembers none, when digests and
 * fingerprints are not as many, or the secret has another length. */
int ids_restore(ids_t *ids, const stored_t *stored);

/* How many secrets an id is looked for under. */
size_t ids_secrets(const ids_t *ids);

/* Forget what expires at or before the hour, also from the log. Returns 0 when there is no memory. */
int ids_forget(ids_t *ids, uint32_t until_h);

/* The lowest expiry of a remembered id; 0 when there is none. */
uint32_t ids_first_expiry(const ids_t *ids);

size_t ids_count(const ids_t *ids);
size_t ids_in_memory(const ids_t *ids);
size_t ids_logged(const ids_t *ids);

/* Copy the logged ids of one expiry; returns how many. `ids_take_end` empties the log. */
size_t ids_take(const ids_t *ids, uint32_t expiry_h, uint8_t *digests, uint8_t *prints);
void ids_take_end(ids_t *ids);

/* The expiries in the log, in the order of their first ids; returns how many, or more than `limit`. */
size_t ids_expiries(const ids_t *ids, uint32_t *expiries, size_t limit);

#endif
