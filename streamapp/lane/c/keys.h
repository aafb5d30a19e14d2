/* Keys and their numbers, in the order in which they were met: open addressing over the hash of their bytes. */
#ifndef KEYS_H
#define KEYS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *bytes;
    size_t length;
    uint64_t hash;
} named_t;

typedef struct {
    named_t *names;
    int64_t count, room;
    uint32_t *places; /* number + 1; 0: free */
    size_t place_count;
} keys_t;

void keys_free(keys_t *keys);

/* The number of a key, which becomes the next one if it is not there; -2 without memory. All zeros is no key yet. */
int64_t keys_number(keys_t *keys, const uint8_t *bytes, size_t length);

/* The number of a key; -1 when it is not there. */
int64_t keys_find(const keys_t *keys, const uint8_t *bytes, size_t length);

#endif
