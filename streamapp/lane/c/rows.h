/* The calls of open hours, of a partition of metered calls: one row an account and hour. Who counts here is the lane
 * lane (calls.h) and, for records that are not plain, Python. The rows are here and nowhere else until their hour
 * closes; they leave as they are stored, MessagePack as in rpc_codec.py. */
#ifndef ROWS_H
#define ROWS_H

#include <stddef.h>
#include <stdint.h>

typedef struct rows rows_t;

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
rows_t *rows_new(int64_t names_max);
void rows_free(rows_t *rows);

/* An hour is open from now on, and its ids expire at `expiry_h`. Returns -2 without memory. */
int rows_open(rows_t *rows, int64_t hour_ms, uint32_t expiry_h);

/* When the ids of an hour expire; 0: it is not open. */
uint32_t rows_expiry(const rows_t *rows, int64_t hour_ms);

/* The hour is open no longer: its rows go. */
void rows_close(rows_t *rows, int64_t hour_ms);

/* Count in an hour. `is_stored`: it is stored like that already, whatever the limit. Returns 1; -1, and counts nothing, when the hour is not
 * open or the sum has more than 38 digits; -2 without memory. */
int rows_add(rows_t *rows, const added_t *added, int is_stored);

/* How many calls were counted as the method without a name since the last call. */
int64_t rows_others(rows_t *rows);

/* How many rows there are. */
int64_t rows_count(const rows_t *rows);

/* Rows, back to back: the lengths of key and value (four bytes each, the low one first), key, value. Those that have
 * changed since the last call, or those of one hour. Returns how many bytes, which stay until the next call; -2 without
 * memory. */
int64_t rows_changed(rows_t *rows, const uint8_t **packed);
int64_t rows_of(rows_t *rows, int64_t hour_ms, const uint8_t **packed);

#endif
