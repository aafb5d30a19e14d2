/* Hashes. SipHash is keyed: nobody who does not know the key can choose texts of one hash. XXH64 is not; only ids that were
 * stored before there were secrets are still compared by it. murmur2 is Kafka's (topics/partitioner.py). SHA-256 is that of ids
 * that anybody can compute (schemas/values/ulid.py). */
#ifndef HASH_H
#define HASH_H

#include "base/base.h"

typedef struct {
    uint64_t low, high;
} pair_t; /* 128 bits, the low half first */

/* SipHash-2-4 with 64 bits and with 128. */
uint64_t sip64(pair_t key, const uint8_t *at, size_t length);
pair_t sip128(pair_t key, const uint8_t *at, size_t length);

/* For maps that live in memory: SipHash-1-3 under the seed of this process. */
uint64_t map_hash(const uint8_t *at, size_t length);

/* The seed of this process's maps, 16 bytes. Set it before the first map is made; until then it is zero. */
void map_seed(const uint8_t seed[16]);

uint64_t xxh64(const uint8_t *at, size_t length, uint64_t seed);
uint32_t murmur2(const uint8_t *at, size_t length);

enum { SHA256_BYTES = 32 };
void sha256(const uint8_t *at, size_t length, uint8_t digest[SHA256_BYTES]);

#endif
