/* A metered call in a record's value, when it is plain: as usage.h is for usage. What is accepted here, the models accept,
 * with the same values: tests/property/test_decode_metering.py holds it to that. */
#ifndef METERING_H
#define METERING_H

#include "usage.h"

typedef struct {
    span_t id, org, agent, consumer, method, currency;
    span_t chain, agent_wallet, consumer_wallet; /* a wallet that is not stated has no place: `at` is null */
    int64_t at_ms, chain_id;
    unsigned __int128 amount; /* what is charged, in units of 10^-12 */
} call_t;

/* Read the call. Returns 0 if it is not plain; then `call` is undefined. */
int call_read(const uint8_t *value, size_t length, call_t *call);

#endif
