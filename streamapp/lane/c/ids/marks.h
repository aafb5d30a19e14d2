/* What is remembered of an event: a digest of its id and a fingerprint of its bytes, both under a secret of the table.
 * Who does not know the secret can neither find two ids of one digest nor two events of one fingerprint (ADR 0027). */
#ifndef MARKS_H
#define MARKS_H

#include "base/hash.h"

enum {
    SECRET_BYTES = 16,
    DIGEST_BYTES = 16,
    PRINT_BYTES = 8,
    BLOCK_BYTES = 512, /* of an event: they become 16 bytes with two multiplications for every 32 */
};

typedef pair_t digest_t;

typedef struct {
    digest_t digest;
    uint64_t print;
} mark_t;

/* What follows from the 16 bytes of a secret: a key for each use, so that none says anything about another. */
typedef struct {
    uint8_t bytes[SECRET_BYTES];
    pair_t ids, prints, old;
    uint64_t block[BLOCK_BYTES / 8];
} secret_t;

void secret_make(secret_t *secret, const uint8_t bytes[SECRET_BYTES]);

digest_t digest_of(const secret_t *secret, const uint8_t *id, size_t length);
uint64_t print_of(const secret_t *secret, const uint8_t *value, size_t length);

/* The digest and fingerprint that were stored before there were secrets. Anybody can compute them, so in memory such an
 * id stands under the digest of its digest. */
digest_t old_digest_of(const uint8_t *id, size_t length);
uint64_t old_print_of(const uint8_t *value, size_t length);
digest_t wrapped(const secret_t *secret, digest_t old);

#endif
