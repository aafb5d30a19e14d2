#include "ids/marks.h"

/* SipHash of a counter. */
static uint64_t derived(pair_t key, uint64_t number) { return sip64(key, (const uint8_t *)&number, sizeof number); }

void secret_make(secret_t *secret, const uint8_t bytes[SECRET_BYTES]) {
    pair_t key;
    memcpy(secret->bytes, bytes, SECRET_BYTES);
    memcpy(&key, bytes, sizeof key);
    secret->ids = (pair_t){derived(key, 0), derived(key, 1)};
    secret->prints = (pair_t){derived(key, 2), derived(key, 3)};
    secret->old = (pair_t){derived(key, 4), derived(key, 5)};
    for (size_t i = 0; i < BLOCK_BYTES / 8; i++) secret->block[i] = derived(key, 6 + i);
}

digest_t digest_of(const secret_t *secret, const uint8_t *id, size_t length) { return sip128(secret->ids, id, length); }

static inline unsigned __int128 product(const uint8_t *at, const uint64_t *key) {
    uint64_t words[2];
    memcpy(words, at, sizeof words);
    return (unsigned __int128)(words[0] + key[0]) * (words[1] + key[1]);
}

/* NH, of UMAC (RFC 4418) and VMAC, with words of 64 bits. Bytes that are missing to the last 16 are zero. */
static unsigned __int128 compressed(const uint64_t *key, const uint8_t *at, size_t length) {
    unsigned __int128 sum = 0;
    size_t done = 0;
    for (; length - done >= 16; done += 16) sum += product(at + done, key + done / 8);
    if (done < length) {
        uint8_t rest[16] = {0};
        memcpy(rest, at + done, length - done);
        sum += product(rest, key + done / 8);
    }
    return sum;
}

/* Each block's sum and then the length through SipHash. A value of many blocks is hashed in steps, each with the hash
 * of the blocks before. */
uint64_t print_of(const secret_t *secret, const uint8_t *value, size_t length) {
    enum { STEP = 32 };
    unsigned __int128 sums[STEP + 1];
    size_t count = 0;
    for (size_t at = 0; at < length; at += BLOCK_BYTES) {
        size_t size = length - at < BLOCK_BYTES ? length - at : BLOCK_BYTES;
        if (count == STEP) {
            pair_t before = sip128(secret->prints, (const uint8_t *)sums, count * sizeof *sums);
            memcpy(sums, &before, sizeof before);
            count = 1;
        }
        sums[count++] = compressed(secret->block, value + at, size);
    }
    sums[count++] = length;
    return sip64(secret->prints, (const uint8_t *)sums, count * sizeof *sums);
}

digest_t old_digest_of(const uint8_t *id, size_t length) { return (digest_t){xxh64(id, length, 0), xxh64(id, length, 1)}; }

uint64_t old_print_of(const uint8_t *value, size_t length) { return xxh64(value, length, 0); }

digest_t wrapped(const secret_t *secret, digest_t old) { return sip128(secret->old, (const uint8_t *)&old, sizeof old); }
