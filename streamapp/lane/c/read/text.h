/* Reading JSON that is plain (see `is_plain`), piece by piece, for the readers of events. Each piece reads at `at` and
 * moves it; 0: it is not plain. They are read twenty million times a minute, so they stand here, where every reader has
 * them inline. */
#ifndef TEXT_H
#define TEXT_H

#include "base/base.h"

typedef struct {
    const uint8_t *at, *end;
    span_t kept; /* of the text: what is any JSON, and not plain */
} text_t;

enum {
    MONEY_DECIMALS = 12,
    MONEY_DIGITS_MAX = 18,
    MEASURE_DIGITS_MAX = 15, /* more, and an exponent, are left to Python */
    FRACTION_MAX = 30,
};

/* Whole readers, in text.c. */
int is_plain(const uint8_t *at, size_t length);
int read_timestamp(text_t *text, int64_t *at_ms);
int skip_value(text_t *text, int depth);
int read_long_money(text_t *text, unsigned __int128 *units, int *is_rounded);

static inline uint64_t word_at(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Whether so many bytes are the same: names are short, and a call of memcmp costs more than to look at them. */
static inline int same(const uint8_t *one, const void *two, size_t length) {
    const uint8_t *other = two;
    if (length < 8) {
        for (size_t i = 0; i < length; i++)
            if (one[i] != other[i]) return 0;
        return 1;
    }
    for (size_t i = 0; i + 8 <= length; i += 8)
        if (word_at(one + i) != word_at(other + i)) return 0;
    return word_at(one + length - 8) == word_at(other + length - 8);
}

static inline void skip_spaces(text_t *text) {
    while (text->at < text->end && *text->at == ' ') text->at++;
}

static inline int take(text_t *text, char wanted) {
    skip_spaces(text);
    if (text->at == text->end || *text->at != (uint8_t)wanted) return 0;
    text->at++;
    return 1;
}

/* These very bytes. */
static inline int take_text(text_t *text, const char *wanted, size_t length) {
    if ((size_t)(text->end - text->at) < length || !same(text->at, wanted, length)) return 0;
    text->at += length;
    return 1;
}

static inline int take_word(text_t *text, const char *word) { return take_text(text, word, strlen(word)); }

static inline int equals(span_t span, const char *text) {
    size_t length = strlen(text);
    return length == span.length && same(span.at, text, length);
}

static inline int read_string(text_t *text, span_t *span) {
    if (!take(text, '"')) return 0;
    const uint8_t *at = text->at;
    for (; text->end - at >= 8; at += 8) { /* the first byte of eight that is a quote: it becomes zero, and 0 - 1 borrows */
        uint64_t word = word_at(at) ^ 0x2222222222222222ull;
        uint64_t zeros = (word - 0x0101010101010101ull) & ~word & 0x8080808080808080ull;
        if (zeros) {
            at += __builtin_ctzll(zeros) >> 3;
            goto found;
        }
    }
    while (at < text->end && *at != '"') at++;
    if (at == text->end) return 0;
found:
    *span = (span_t){text->at, (size_t)(at - text->at)};
    text->at = at + 1;
    return 1;
}

static inline int is_digit(const text_t *text) { return text->at < text->end && (unsigned)(*text->at - '0') < 10; }

/* Digits without a leading zero, at most `limit`. */
static inline int read_digits(text_t *text, int limit, uint64_t *number) {
    const uint8_t *start = text->at;
    uint64_t read = 0;
    while (is_digit(text) && text->at - start <= limit) read = read * 10 + (uint64_t)(*text->at++ - '0');
    ptrdiff_t digits = text->at - start;
    *number = read;
    return digits > 0 && digits <= limit && (digits == 1 || *start != '0');
}

/* A point and digits, if there is one; returns how many digits, or -1. `number` is of the first twelve. */
static inline int read_fraction(text_t *text, int limit, uint64_t *number) {
    *number = 0;
    if (text->at == text->end || *text->at != '.') return 0;
    const uint8_t *start = ++text->at;
    while (is_digit(text) && text->at - start <= limit) {
        if (text->at - start < MONEY_DECIMALS) *number = *number * 10 + (uint64_t)(*text->at - '0');
        text->at++;
    }
    ptrdiff_t digits = text->at - start;
    return digits > 0 && digits <= limit ? (int)digits : -1;
}

/* Whether a number has ended where it was read to: no exponent, no point that was not expected. */
static inline int has_ended(const text_t *text) {
    if (text->at == text->end) return 0;
    return *text->at == ',' || *text->at == '}' || *text->at == ']' || *text->at == ' ';
}

/* So few that no sum of a chunk overflows. */
static inline int read_count(text_t *text, int64_t *count) {
    uint64_t number;
    if (!read_digits(text, 10, &number) || !has_ended(text) || number > 1000000000) return 0;
    *count = (int64_t)number;
    return 1;
}

/* A decimal, in units of 10^-12, rounded half to even; `is_rounded`: a digit was lost. The usual spelling is read here,
 * more decimals and exponents in text.c. */
static inline int read_money(text_t *text, unsigned __int128 *units, int *is_rounded) {
    static const uint64_t TENS[] = {1,         10,         100,         1000,         10000,         100000,       1000000,
                                    10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000};
    const uint8_t *start = text->at;
    uint64_t whole, fraction;
    if (!read_digits(text, MONEY_DIGITS_MAX, &whole)) return 0;
    int decimals = read_fraction(text, MONEY_DECIMALS, &fraction);
    if (decimals < 0 || (text->at < text->end && (*text->at | 0x20) == 'e')) {
        text->at = start;
        return read_long_money(text, units, is_rounded);
    }
    *units = (unsigned __int128)whole * TENS[MONEY_DECIMALS] + fraction * TENS[MONEY_DECIMALS - decimals];
    *is_rounded = 0;
    return 1;
}

static inline int read_flag(text_t *text, int *flag) {
    *flag = text->at < text->end && *text->at == 't';
    return *flag ? take_text(text, "true", 4) : take_text(text, "false", 5);
}

#endif
