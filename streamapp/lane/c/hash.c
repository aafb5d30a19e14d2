#include "hash.h"

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

typedef struct {
    uint64_t v0, v1, v2, v3;
} sip_t;

static inline void sip_round(sip_t *s) {
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = turned(s->v1, 13) ^ s->v0;
    s->v3 = turned(s->v3, 16) ^ s->v2;
    s->v0 = turned(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = turned(s->v1, 17) ^ s->v2;
    s->v3 = turned(s->v3, 21) ^ s->v0;
    s->v2 = turned(s->v2, 32);
}

static inline void sip_rounds(sip_t *s, int rounds) {
    for (int i = 0; i < rounds; i++) sip_round(s);
}

static inline sip_t sip_begun(pair_t key) {
    return (sip_t){key.low ^ 0x736F6D6570736575ull, key.high ^ 0x646F72616E646F6Dull, key.low ^ 0x6C7967656E657261ull,
                   key.high ^ 0x7465646279746573ull};
}

static inline void sip_word(sip_t *s, uint64_t word, int rounds) {
    s->v3 ^= word;
    sip_rounds(s, rounds);
    s->v0 ^= word;
}

static inline uint64_t sip_end(sip_t *s, uint64_t mark, int rounds) {
    s->v2 ^= mark;
    sip_rounds(s, rounds);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* The last word: the bytes that are left, and the length. */
static inline uint64_t last_word(const uint8_t *at, size_t left, size_t length) {
    uint64_t word = (uint64_t)length << 56;
    for (size_t i = 0; i < left; i++) word |= (uint64_t)at[i] << (8 * i);
    return word;
}

static inline void sip_text(sip_t *s, const uint8_t *at, size_t length, int rounds) {
    size_t left = length;
    for (; left >= 8; at += 8, left -= 8) sip_word(s, read64(at), rounds);
    sip_word(s, last_word(at, left, length), rounds);
}

uint64_t sip64(pair_t key, const uint8_t *at, size_t length) {
    sip_t s = sip_begun(key);
    sip_text(&s, at, length, 2);
    return sip_end(&s, 0xFF, 4);
}

pair_t sip128(pair_t key, const uint8_t *at, size_t length) {
    sip_t s = sip_begun(key);
    s.v1 ^= 0xEE;
    sip_text(&s, at, length, 2);
    uint64_t low = sip_end(&s, 0xEE, 4);
    s.v1 ^= 0xDD;
    return (pair_t){low, sip_end(&s, 0, 4)};
}

static pair_t seed_of_maps;

void map_seed(const uint8_t seed[16]) { seed_of_maps = (pair_t){read64(seed), read64(seed + 8)}; }

uint64_t map_hash(const uint8_t *at, size_t length) {
    sip_t s = sip_begun(seed_of_maps);
    sip_text(&s, at, length, 1);
    return sip_end(&s, 0xFF, 3);
}

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
