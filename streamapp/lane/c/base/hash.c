#include "base/hash.h"

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

enum { BLOCK_BYTES = 64, LENGTH_BYTES = 8, ROUNDS = 64 };

static inline uint32_t turned_right(uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

static void sha256_block(uint32_t state[8], const uint8_t *block) {
    static const uint32_t FACTORS[ROUNDS] = {
        0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
        0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
        0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
        0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
        0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
        0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
        0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
        0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
    };
    uint32_t words[ROUNDS];
    for (int i = 0; i < 16; i++) words[i] = __builtin_bswap32(read32(block + 4 * i));
    for (int i = 16; i < ROUNDS; i++) {
        uint32_t early = words[i - 15], late = words[i - 2];
        words[i] = words[i - 16] + words[i - 7] + (turned_right(early, 7) ^ turned_right(early, 18) ^ early >> 3) +
                   (turned_right(late, 17) ^ turned_right(late, 19) ^ late >> 10);
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t one = h + (turned_right(e, 6) ^ turned_right(e, 11) ^ turned_right(e, 25)) + ((e & f) ^ (~e & g)) +
                       FACTORS[i] + words[i];
        uint32_t two = (turned_right(a, 2) ^ turned_right(a, 13) ^ turned_right(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + one;
        d = c, c = b, b = a, a = one + two;
    }
    const uint32_t more[] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) state[i] += more[i];
}

void sha256(const uint8_t *at, size_t length, uint8_t digest[SHA256_BYTES]) {
    uint32_t state[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
    size_t rest = length % BLOCK_BYTES;
    for (const uint8_t *end = at + length - rest; at < end; at += BLOCK_BYTES) sha256_block(state, at);
    uint8_t last[2 * BLOCK_BYTES] = {0};
    size_t padded = rest < BLOCK_BYTES - LENGTH_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    if (rest) memcpy(last, at, rest);
    last[rest] = 0x80;
    uint64_t bits = __builtin_bswap64((uint64_t)length * 8);
    memcpy(last + padded - LENGTH_BYTES, &bits, LENGTH_BYTES);
    for (size_t i = 0; i < padded; i += BLOCK_BYTES) sha256_block(state, last + i);
    for (int i = 0; i < 8; i++) {
        uint32_t word = __builtin_bswap32(state[i]);
        memcpy(digest + 4 * i, &word, sizeof word);
    }
}
