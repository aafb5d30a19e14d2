/* Remembered ids that have left memory: parts of a file without a name, each a table like the one in memory, behind a
 * filter of twelve bits an id that stays in memory. An id that is not there costs a look at each filter, and in one
 * case of a hundred a read. The file goes with the process: what is remembered is in the changelog. */
#ifndef SPILL_H
#define SPILL_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t low, print;
    uint32_t high, expiry_h; /* an expiry of 0: a free place */
} spill_id_t;

typedef struct spill spill_t;

/* A file in this folder. NULL when there is no memory, or no file can be made there. */
spill_t *spill_new(const char *folder);
void spill_free(spill_t *spill);

/* Keep ids that are in no part yet. Returns 0 when there is no memory or no room on the disk; nothing is kept then. */
int spill_add(spill_t *spill, const spill_id_t *ids, size_t count);

/* The fingerprint and expiry of an id. Returns 1 when it is there, 0 when it is not, -1 when the file cannot be read. */
int spill_find(const spill_t *spill, uint64_t low, uint32_t high, uint64_t *print, uint32_t *expiry_h);

/* Forget what expires at or before the hour. */
void spill_forget(spill_t *spill, uint32_t until_h);

size_t spill_count(const spill_t *spill);

/* The lowest expiry of an id; 0 when there is none. */
uint32_t spill_first_expiry(const spill_t *spill);

#endif
