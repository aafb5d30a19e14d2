/* What every source here builds on. */
#ifndef BASE_H
#define BASE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the fast path needs a little-endian machine: words are read from memory as they lie there"
#endif

#define NOT_THERE (-1)
#define NO_MEMORY (-2)

typedef struct {
    const uint8_t *at;
    size_t length;
} span_t;

/* The items, with room for one more than `count`; NULL without memory, then they stay as they are. */
static inline void *with_room(void *items, int64_t count, int64_t *room, size_t size) {
    if (count < *room) return items;
    int64_t wanted = *room ? 2 * *room : 64;
    void *grown = realloc(items, (size_t)wanted * size);
    if (grown) *room = wanted;
    return grown;
}

#endif
