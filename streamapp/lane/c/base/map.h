/* Items by the bytes of their keys, numbered in the order in which they were met: open addressing over a keyed hash. */
#ifndef MAP_H
#define MAP_H

#include "base/pack.h"

/* What every item begins with: where its key stands in the map's bytes. */
typedef struct {
    uint64_t hash;
    size_t at, length;
} map_key_t;

/* All zeros but `size`, the bytes of an item, is a map without items. */
typedef struct {
    size_t size;
    char *items;
    int64_t count, room;
    buffer_t bytes;
    uint32_t *places; /* number + 1; 0: free. At most half are taken. */
    size_t place_count;
} map_t;

void map_free(map_t *map);

/* Forget all items, but keep the room. */
void map_clear(map_t *map);

/* The number of a key; NOT_THERE. */
int64_t map_find(const map_t *map, const void *key, size_t length);

/* The number of a key, which becomes the next one if it is not there; the rest of its item is zero then. NO_MEMORY. */
int64_t map_number(map_t *map, const void *key, size_t length);

/* An item and its key, as long as no other is made. */
static inline void *map_item(const map_t *map, int64_t number) { return map->items + (size_t)number * map->size; }

static inline span_t map_key(const map_t *map, int64_t number) {
    const map_key_t *key = map_item(map, number);
    return (span_t){map->bytes.bytes + key->at, key->length};
}

#endif
