#include "base/pack.h"

enum { ROOM_MIN = 4096, PLACES = 12, PLAIN_DIGITS_MIN = 7, DIGITS_MAX = 39 };

void buffer_free(buffer_t *buffer) {
    free(buffer->bytes);
    *buffer = (buffer_t){0};
}

/* Where so many bytes can be written, behind what is there; NULL without memory. */
static inline uint8_t *room_for(buffer_t *buffer, size_t length) {
    size_t at = buffer->length;
    if (!buffer->bytes || buffer->room - at < length) {
        size_t room = buffer->room ? buffer->room : ROOM_MIN;
        while (room - at < length) room *= 2;
        uint8_t *grown = realloc(buffer->bytes, room);
        if (!grown) {
            buffer->is_full = 1;
            return NULL;
        }
        buffer->bytes = grown;
        buffer->room = room;
    }
    return buffer->bytes + at;
}

size_t put_bytes(buffer_t *buffer, const void *bytes, size_t length) {
    size_t at = buffer->length;
    if (!room_for(buffer, length)) return at;
    if (length) memcpy(buffer->bytes + at, bytes, length); /* an empty name has no bytes to point at */
    buffer->length += length;
    return at;
}

void put_again(buffer_t *buffer, size_t at, size_t length) {
    if (buffer->is_full || !room_for(buffer, length)) return;
    memcpy(buffer->bytes + buffer->length, buffer->bytes + at, length);
    buffer->length += length;
}

/* A letter, and a number behind it in so many bytes, the highest first. */
static inline void put_tagged(buffer_t *buffer, uint8_t tag, uint64_t number, int width) {
    uint8_t *to = room_for(buffer, 9);
    if (!to) return;
    *to = tag;
    for (int at = width; at; at--, number >>= 8) to[at] = (uint8_t)number;
    buffer->length += (size_t)width + 1;
}

void put_nil(buffer_t *buffer) { put_tagged(buffer, 0xC0, 0, 0); }

void put_flag(buffer_t *buffer, int flag) { put_tagged(buffer, flag ? 0xC3 : 0xC2, 0, 0); }

void put_array(buffer_t *buffer, size_t count) {
    if (count < 16) put_tagged(buffer, (uint8_t)(0x90 | count), 0, 0);
    else if (count <= 0xFFFF) put_tagged(buffer, 0xDC, count, 2);
    else put_tagged(buffer, 0xDD, count, 4);
}

void put_map(buffer_t *buffer, size_t count) {
    if (count < 16) put_tagged(buffer, (uint8_t)(0x80 | count), 0, 0);
    else if (count <= 0xFFFF) put_tagged(buffer, 0xDE, count, 2);
    else put_tagged(buffer, 0xDF, count, 4);
}

void put_string(buffer_t *buffer, const uint8_t *at, size_t length) {
    uint8_t *to = length < 32 ? room_for(buffer, 32) : NULL;
    if (to) { /* as most are */
        *to = (uint8_t)(0xA0 | length);
        if (length) memcpy(to + 1, at, length);
        buffer->length += length + 1;
        return;
    }
    if (length < 32) return;
    if (length <= 0xFF) put_tagged(buffer, 0xD9, length, 1);
    else if (length <= 0xFFFF) put_tagged(buffer, 0xDA, length, 2);
    else put_tagged(buffer, 0xDB, length, 4);
    put_bytes(buffer, at, length);
}

void put_number(buffer_t *buffer, int64_t number) {
    if (number < INT32_MIN) put_tagged(buffer, 0xD3, (uint64_t)number, 8);
    else if (number < 0x80) put_tagged(buffer, (uint8_t)number, 0, 0);
    else if (number <= 0xFF) put_tagged(buffer, 0xCC, (uint64_t)number, 1);
    else if (number <= 0xFFFF) put_tagged(buffer, 0xCD, (uint64_t)number, 2);
    else if (number <= 0xFFFFFFFF) put_tagged(buffer, 0xCE, (uint64_t)number, 4);
    else put_tagged(buffer, 0xCF, (uint64_t)number, 8);
}

/* The digits of a number that is below 10^39; returns how many. */
static int digits_of(unsigned __int128 number, uint8_t digits[DIGITS_MAX]) {
    uint8_t back[DIGITS_MAX];
    int count = 0;
    while (number > UINT64_MAX) {
        back[count++] = (uint8_t)('0' + (int)(number % 10));
        number /= 10;
    }
    uint64_t low = (uint64_t)number;
    do {
        back[count++] = (uint8_t)('0' + low % 10);
        low /= 10;
    } while (low);
    for (int at = 0; at < count; at++) digits[at] = back[count - 1 - at];
    return count;
}

/* Python writes an exponent where more than five zeros would stand behind the point: 0.00000012 is 1.20000E-7. */
void put_money(buffer_t *buffer, unsigned __int128 units) {
    uint8_t digits[DIGITS_MAX], text[DIGITS_MAX + PLACES + 4];
    int count = digits_of(units, digits), length = 0;
    if (count >= PLAIN_DIGITS_MIN) {
        for (int at = count > PLACES ? count : PLACES + 1; at; at--) {
            if (at == PLACES) text[length++] = '.';
            text[length++] = at > count ? '0' : digits[count - at];
        }
    } else {
        text[length++] = digits[0];
        if (count > 1) text[length++] = '.';
        for (int at = 1; at < count; at++) text[length++] = digits[at];
        int exponent = PLACES + 1 - count;
        text[length++] = 'E';
        text[length++] = '-';
        if (exponent >= 10) text[length++] = (uint8_t)('0' + exponent / 10);
        text[length++] = (uint8_t)('0' + exponent % 10);
    }
    put_string(buffer, text, (size_t)length);
}

void put_wide(buffer_t *buffer, unsigned __int128 number) {
    uint8_t digits[DIGITS_MAX];
    if (number <= INT64_MAX) put_number(buffer, (int64_t)number);
    else if (number <= UINT64_MAX) put_tagged(buffer, 0xCF, (uint64_t)number, 8);
    else put_string(buffer, digits, (size_t)digits_of(number, digits));
}

void put_digits(buffer_t *buffer, unsigned __int128 number) {
    uint8_t digits[DIGITS_MAX];
    put_bytes(buffer, digits, (size_t)digits_of(number, digits));
}

void put_fixed(buffer_t *buffer, unsigned __int128 units) {
    static const uint64_t UNIT = 1000000000000ull;
    uint8_t decimals[PLACES + 1] = {'.'};
    uint64_t part = (uint64_t)(units % UNIT);
    put_digits(buffer, units / UNIT);
    for (int at = PLACES; at; at--, part /= 10) decimals[at] = (uint8_t)('0' + part % 10);
    put_bytes(buffer, decimals, sizeof decimals);
}

/* An escape for every byte below a space, and for the quote and the backslash. */
static void put_escaped(buffer_t *buffer, uint8_t byte) {
    static const char DIGITS[] = "0123456789abcdef", SHORT[] = "\bb\tt\nn\ff\rr\"\"\\\\";
    for (const char *at = SHORT; *at; at += 2)
        if ((uint8_t)*at == byte) {
            put_bytes(buffer, (char[]){'\\', at[1]}, 2);
            return;
        }
    put_bytes(buffer, (char[]){'\\', 'u', '0', '0', DIGITS[byte >> 4], DIGITS[byte & 15]}, 6);
}

void put_json_string(buffer_t *buffer, span_t text) {
    const uint8_t *end = text.at + text.length, *from = text.at;
    put_bytes(buffer, "\"", 1);
    for (const uint8_t *at = from; at < end; at++)
        if (*at < ' ' || *at == '"' || *at == '\\') {
            put_bytes(buffer, from, (size_t)(at - from));
            put_escaped(buffer, *at);
            from = at + 1;
        }
    put_bytes(buffer, from, (size_t)(end - from));
    put_bytes(buffer, "\"", 1);
}
