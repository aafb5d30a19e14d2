#include "keys.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"

enum { PLACES_MIN = 256 };

#define NO_MEMORY (-2)

void keys_free(keys_t *keys) {
    for (int64_t i = 0; i < keys->count; i++) free(keys->names[i].bytes);
    free(keys->names);
    free(keys->places);
}

/* At most half of the places are taken. */
static int make_room(keys_t *keys) {
    if (keys->count == keys->room) {
        int64_t room = keys->room ? 2 * keys->room : PLACES_MIN / 2;
        named_t *names = realloc(keys->names, (size_t)room * sizeof *names);
        if (!names) return 0;
        keys->names = names;
        keys->room = room;
    }
    if (2 * (size_t)keys->count < keys->place_count) return 1;
    size_t count = keys->place_count ? 2 * keys->place_count : PLACES_MIN;
    uint32_t *places = calloc(count, sizeof *places);
    if (!places) return 0;
    for (int64_t i = 0; i < keys->count; i++) {
        size_t at = keys->names[i].hash & (count - 1);
        while (places[at]) at = (at + 1) & (count - 1);
        places[at] = (uint32_t)i + 1;
    }
    free(keys->places);
    keys->places = places;
    keys->place_count = count;
    return 1;
}

int64_t keys_find(const keys_t *keys, const uint8_t *bytes, size_t length) {
    if (!keys->place_count) return -1;
    uint64_t hash = map_hash(bytes, length);
    size_t mask = keys->place_count - 1;
    for (size_t at = hash & mask; keys->places[at]; at = (at + 1) & mask) {
        const named_t *name = &keys->names[keys->places[at] - 1];
        if (name->hash == hash && name->length == length && !memcmp(name->bytes, bytes, length))
            return keys->places[at] - 1;
    }
    return -1;
}

int64_t keys_number(keys_t *keys, const uint8_t *bytes, size_t length) {
    if (!make_room(keys)) return NO_MEMORY;
    uint64_t hash = map_hash(bytes, length);
    size_t mask = keys->place_count - 1, at = hash & mask;
    for (; keys->places[at]; at = (at + 1) & mask) {
        const named_t *name = &keys->names[keys->places[at] - 1];
        if (name->hash == hash && name->length == length && !memcmp(name->bytes, bytes, length))
            return keys->places[at] - 1;
    }
    uint8_t *own = malloc(length ? length : 1);
    if (!own) return NO_MEMORY;
    if (length) memcpy(own, bytes, length);
    keys->names[keys->count] = (named_t){own, length, hash};
    keys->places[at] = (uint32_t)keys->count + 1;
    return keys->count++;
}
