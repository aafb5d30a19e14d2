#include "base/map.h"

#include "base/hash.h"

enum { PLACES_MIN = 256 };

void map_free(map_t *map) {
    free(map->items);
    buffer_free(&map->bytes);
    free(map->places);
    *map = (map_t){.size = map->size};
}

void map_clear(map_t *map) {
    if (map->place_count) memset(map->places, 0, map->place_count * sizeof *map->places);
    map->count = 0;
    map->bytes.length = 0;
}

/* Where the number of a key stands, or would. */
static size_t place_of(const map_t *map, const void *key, size_t length, uint64_t hash) {
    size_t mask = map->place_count - 1, at = hash & mask;
    for (; map->places[at]; at = (at + 1) & mask) {
        const map_key_t *known = map_item(map, map->places[at] - 1);
        if (known->hash == hash && known->length == length && !memcmp(map->bytes.bytes + known->at, key, length)) break;
    }
    return at;
}

int64_t map_find(const map_t *map, const void *key, size_t length) {
    if (!map->place_count) return NOT_THERE;
    return (int64_t)map->places[place_of(map, key, length, map_hash(key, length))] - 1;
}

static int make_room(map_t *map) {
    char *items = with_room(map->items, map->count, &map->room, map->size);
    if (!items) return 0;
    map->items = items;
    if (2 * (size_t)map->count < map->place_count) return 1;
    size_t count = map->place_count ? 2 * map->place_count : PLACES_MIN;
    uint32_t *places = calloc(count, sizeof *places);
    if (!places) return 0;
    for (int64_t i = 0; i < map->count; i++) {
        size_t at = ((map_key_t *)map_item(map, i))->hash & (count - 1);
        while (places[at]) at = (at + 1) & (count - 1);
        places[at] = (uint32_t)i + 1;
    }
    free(map->places);
    map->places = places;
    map->place_count = count;
    return 1;
}

int64_t map_number(map_t *map, const void *key, size_t length) {
    if (!make_room(map)) return NO_MEMORY;
    uint64_t hash = map_hash(key, length);
    size_t place = place_of(map, key, length, hash);
    if (map->places[place]) return (int64_t)map->places[place] - 1;
    size_t at = put_bytes(&map->bytes, key, length);
    if (map->bytes.is_full) return NO_MEMORY;
    memset(map_item(map, map->count), 0, map->size);
    *(map_key_t *)map_item(map, map->count) = (map_key_t){hash, at, length};
    map->places[place] = (uint32_t)++map->count;
    return map->count - 1;
}
