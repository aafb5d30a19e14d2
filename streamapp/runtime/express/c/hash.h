/* Hashes that Python has too: XXH64 (xxhash.xxh64) and Kafka's murmur2 (topics/partitioner.py). */
#ifndef HASH_H
#define HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t xxh64(const uint8_t *at, size_t length, uint64_t seed);
uint32_t murmur2(const uint8_t *at, size_t length);

#endif
