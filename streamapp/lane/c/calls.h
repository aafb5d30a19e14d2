/* The lane of metered calls: one row an account and hour. Who counts here is the fast path and, for records that are not
 * plain, Python. The rows are here and nowhere else until their hour closes; they leave as they are stored, MessagePack as
 * in rpc_codec.py. */
#ifndef CALLS_H
#define CALLS_H

#include "lane.h"

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

/* How many calls were counted as the method without a name since the last call. */
int64_t calls_others(lane_t *lane);

/* How many rows there are. */
int64_t calls_rows(const lane_t *lane);

/* Rows, back to back: the lengths of key and value (four bytes each, the low one first), key, value. Those that have
 * changed since the last call, or those of one hour. Returns how many bytes, which stay until the next call; NO_MEMORY. */
int64_t calls_changed(lane_t *lane, const uint8_t **packed);
int64_t calls_of(lane_t *lane, int64_t hour_ms, const uint8_t **packed);

#endif
