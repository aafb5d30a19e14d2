/* MessagePack and JSON, as Python's encoders (msgspec) write them, into a buffer that grows. */
#ifndef PACK_H
#define PACK_H

#include "base/base.h"

/* `is_full`: there was no memory, and something is missing. */
typedef struct {
    uint8_t *bytes;
    size_t length, room;
    int is_full;
} buffer_t;

void buffer_free(buffer_t *buffer);

/* Any bytes; returns where they begin. */
size_t put_bytes(buffer_t *buffer, const void *bytes, size_t length);

/* Once more what is there already, from `at` on. */
void put_again(buffer_t *buffer, size_t at, size_t length);

void put_nil(buffer_t *buffer);
void put_flag(buffer_t *buffer, int flag);
void put_array(buffer_t *buffer, size_t count);
void put_map(buffer_t *buffer, size_t count);
void put_string(buffer_t *buffer, const uint8_t *at, size_t length);

/* Zero or more, or below -2^31. */
void put_number(buffer_t *buffer, int64_t number);

/* So many units of 10^-12 as the text of a decimal with twelve places, as Python spells it. */
void put_money(buffer_t *buffer, unsigned __int128 units);

/* Any number; beyond 64 bits it becomes a text. */
void put_wide(buffer_t *buffer, unsigned __int128 number);

/* For JSON, as Python's encoder (msgspec) writes it: a text in quotes; the digits of a number below 10^39; so many units of
 * 10^-12 with twelve decimals. */
void put_json_string(buffer_t *buffer, span_t text);
void put_digits(buffer_t *buffer, unsigned __int128 number);
void put_fixed(buffer_t *buffer, unsigned __int128 units);

#endif
