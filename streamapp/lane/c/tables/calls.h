/* The lane of metered calls: one row an account and hour, with a line for each method. Rows leave as rpc_codec.py says. */
#ifndef CALLS_H
#define CALLS_H

#include "tables/rows.h"

/* What is counted: calls of a method, what they cost in units of 10^-12 (in two halves), and where they lie. `account`
 * and `payment` are MessagePack, of the account and of how the last call was paid. */
typedef struct {
    int64_t hour_ms;
    const uint8_t *account, *method, *payment;
    size_t account_length, method_length, payment_length;
    int64_t calls;
    uint64_t cost_low, cost_high;
    int64_t first_offset, last_offset;
} added_t;

/* A row tells `names_max` methods apart: the first ones. Calls of any other count as the method without a name. */
lane_t *calls_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, int64_t names_max);

/* Count in an hour. `is_stored`: it is stored like that already, whatever the limit. Returns 1; NOT_THERE, and counts
 * nothing, when the hour is not open or the sum has more than 38 digits; NO_MEMORY. */
int calls_add(lane_t *lane, const added_t *added, int is_stored);

/* What is charged for a call, in units of 10^-12. Returns 0 when it is beyond any amount. */
int calls_amount(const rpc_metered_t *call, unsigned __int128 *amount);

#endif
