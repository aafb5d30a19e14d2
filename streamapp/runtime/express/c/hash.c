#include "hash.h"

#include <string.h>

#define PRIME_1 0x9E3779B185EBCA87ull
#define PRIME_2 0xC2B2AE3D27D4EB4Full
#define PRIME_3 0x165667B19E3779F9ull
#define PRIME_4 0x85EBCA77C2B2AE63ull
#define PRIME_5 0x27D4EB2F165667C5ull

static inline uint64_t read64(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

static inline uint32_t read32(const uint8_t *at) {
    uint32_t word;
    memcpy(&word, at, 4);
    return word;
}

static inline uint64_t turned(uint64_t word, int bits) { return (word << bits) | (word >> (64 - bits)); }

static inline uint64_t mixed(uint64_t lane, uint64_t word) { return turned(lane + word * PRIME_2, 31) * PRIME_1; }

uint64_t xxh64(const uint8_t *at, size_t length, uint64_t seed) {
    const uint8_t *end = at + length;
    uint64_t hash;
    if (length >= 32) {
        uint64_t lanes[4] = {seed + PRIME_1 + PRIME_2, seed + PRIME_2, seed, seed - PRIME_1};
        for (; end - at >= 32; at += 32)
            for (int lane = 0; lane < 4; lane++) lanes[lane] = mixed(lanes[lane], read64(at + 8 * lane));
        hash = turned(lanes[0], 1) + turned(lanes[1], 7) + turned(lanes[2], 12) + turned(lanes[3], 18);
        for (int lane = 0; lane < 4; lane++) hash = (hash ^ mixed(0, lanes[lane])) * PRIME_1 + PRIME_4;
    } else {
        hash = seed + PRIME_5;
    }
    hash += length;
    for (; end - at >= 8; at += 8) hash = turned(hash ^ mixed(0, read64(at)), 27) * PRIME_1 + PRIME_4;
    for (; end - at >= 4; at += 4) hash = turned(hash ^ (read32(at) * PRIME_1), 23) * PRIME_2 + PRIME_3;
    for (; at < end; at++) hash = turned(hash ^ (*at * PRIME_5), 11) * PRIME_1;
    hash = (hash ^ (hash >> 33)) * PRIME_2;
    hash = (hash ^ (hash >> 29)) * PRIME_3;
    return hash ^ (hash >> 32);
}

uint32_t murmur2(const uint8_t *at, size_t length) {
    const uint32_t m = 0x5BD1E995u;
    uint32_t hash = 0x9747B28Cu ^ (uint32_t)length;
    for (; length >= 4; at += 4, length -= 4) {
        uint32_t k = read32(at) * m;
        hash = hash * m ^ (k ^ (k >> 24)) * m;
    }
    if (length) {
        uint32_t rest = 0;
        memcpy(&rest, at, length);
        hash = (hash ^ rest) * m;
    }
    hash = (hash ^ (hash >> 13)) * m;
    return hash ^ (hash >> 15);
}
