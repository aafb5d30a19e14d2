#include "read/text.h"

enum {
    DEPTH_MAX = 32,
    LONG_DIGITS_MAX = 37,
    DAY_S = 86400,
    YEAR_MIN = 1971, /* the edges of what a timestamp may be are left to Python, too */
    YEAR_MAX = 9998,
};

/* Only printable ASCII and no backslash: so a string ends at the next quote, and needs no decoding. */
int is_plain(const uint8_t *at, size_t length) {
    unsigned strange = 0;
    for (size_t i = 0; i < length; i++) strange |= (unsigned)(at[i] - 0x20u) >= 0x5Fu || at[i] == '\\';
    return !strange;
}

static int number_at(const uint8_t *at, int digits, int *number) {
    *number = 0;
    for (int i = 0; i < digits; i++) {
        if ((unsigned)(at[i] - '0') >= 10) return 0;
        *number = *number * 10 + at[i] - '0';
    }
    return 1;
}

static int is_leap(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

/* Days since 1970, by the civil calendar: years begin in March, so that the leap day is their last. */
static int64_t days_since_epoch(int year, int month, int day) {
    int from_march = (month + 9) % 12;
    int64_t years = year - (month <= 2);
    return years * 365 + years / 4 - years / 100 + years / 400 + (from_march * 153 + 2) / 5 + day - 1 - 719468;
}

/* `2025-01-15T10:30:00.123Z` with any number of decimals up to nine, or none; cut to milliseconds. */
int read_timestamp(text_t *text, int64_t *at_ms) {
    static const uint8_t DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    span_t stamp;
    int year, month, day, hour, minute, second;
    if (!read_string(text, &stamp) || stamp.length < 20 || stamp.length > 30) return 0;
    const uint8_t *at = stamp.at, *last = stamp.at + stamp.length - 1;
    if (at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':' || *last != 'Z') return 0;
    if (!number_at(at, 4, &year) || !number_at(at + 5, 2, &month) || !number_at(at + 8, 2, &day)) return 0;
    if (!number_at(at + 11, 2, &hour) || !number_at(at + 14, 2, &minute) || !number_at(at + 17, 2, &second)) return 0;
    if (year < YEAR_MIN || year > YEAR_MAX || month < 1 || month > 12 || day < 1) return 0;
    if (day > DAYS[month - 1] + (month == 2 && is_leap(year)) || hour > 23 || minute > 59 || second > 59) return 0;
    int ms = 0, unit = 100;
    if (stamp.length > 20) {
        if (at[19] != '.' || stamp.length == 21) return 0;
        for (const uint8_t *digit = at + 20; digit < last; digit++, unit /= 10) {
            if ((unsigned)(*digit - '0') >= 10) return 0;
            ms += (*digit - '0') * unit;
        }
    }
    *at_ms = (days_since_epoch(year, month, day) * DAY_S + (hour * 60 + minute) * 60 + second) * 1000 + ms;
    return 1;
}

/* 10^power, up to 10^38. */
static unsigned __int128 ten_to(int power) {
    unsigned __int128 number = 1;
    while (power-- > 0) number *= 10;
    return number;
}

/* An exponent of at most three digits, if there is one. */
static int read_exponent(text_t *text, int *exponent) {
    uint64_t number = 0;
    *exponent = 0;
    if (text->at == text->end || (*text->at | 0x20) != 'e') return 1;
    text->at++;
    int is_negative = text->at < text->end && *text->at == '-';
    if (text->at < text->end && (*text->at == '-' || *text->at == '+')) text->at++;
    const uint8_t *start = text->at;
    while (is_digit(text) && text->at - start < 3) number = number * 10 + (uint64_t)(*text->at++ - '0');
    *exponent = is_negative ? -(int)number : (int)number;
    return text->at > start && !is_digit(text);
}

/* As `read_money`: any number of at most 37 digits, so that it fits 128 bits. Longer ones are left to Python. */
int read_long_money(text_t *text, unsigned __int128 *units, int *is_rounded) {
    static const unsigned __int128 END = (unsigned __int128)1000000000000000000ull * 1000000000000ull;
    unsigned __int128 number = 0;
    int digits = 0, decimals = 0, exponent;
    if (!is_digit(text)) return 0;
    int is_zero_first = *text->at == '0';
    for (; is_digit(text); digits++) {
        if (digits == LONG_DIGITS_MAX) return 0;
        number = number * 10 + (unsigned)(*text->at++ - '0');
    }
    if (is_zero_first && digits > 1) return 0;
    if (text->at < text->end && *text->at == '.') {
        text->at++;
        for (; is_digit(text); digits++, decimals++) {
            if (digits == LONG_DIGITS_MAX) return 0;
            number = number * 10 + (unsigned)(*text->at++ - '0');
        }
        if (!decimals) return 0;
    }
    if (!read_exponent(text, &exponent)) return 0;
    int shift = MONEY_DECIMALS - decimals + exponent;
    *is_rounded = 0;
    *units = number;
    if (!number || !shift) return number < END;
    if (shift > 0) {
        if (shift > LONG_DIGITS_MAX || __builtin_mul_overflow(number, ten_to(shift), units)) return 0;
        return *units < END;
    }
    /* Beyond 10^38 a number of so few digits is less than half. */
    unsigned __int128 unit = ten_to(shift < -38 ? 38 : -shift), rest = number % unit;
    *units = shift < -38 ? 0 : number / unit;
    *is_rounded = shift < -38 || rest;
    unsigned __int128 half = unit / 2;
    if (shift >= -38 && (rest > half || (rest == half && (*units & 1)))) ++*units;
    return *units < END;
}

static int skip_number(text_t *text) {
    uint64_t number;
    if (text->at < text->end && *text->at == '-') text->at++;
    return read_digits(text, MEASURE_DIGITS_MAX, &number) && read_fraction(text, FRACTION_MAX, &number) >= 0 &&
           has_ended(text);
}

/* The four digits of an escape, from 0 to 0xFFFF; -1: there is none here. */
static int32_t unicode_escape(const uint8_t *at, const uint8_t *end) {
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return -1;
    int32_t number = 0;
    for (int i = 2; i < 6; i++) {
        unsigned digit = (unsigned)(at[i] - '0'), letter = (unsigned)((at[i] | 0x20) - 'a');
        if (digit >= 10 && letter >= 6) return -1;
        number = number << 4 | (int32_t)(digit < 10 ? digit : letter + 10);
    }
    return number;
}

/* How long the escape is that stands here; 0: it is none, or half of a surrogate pair. */
static size_t escape_length(const uint8_t *at, const uint8_t *end) {
    if (end - at < 2) return 0;
    if (at[1] != 'u') return memchr("\"\\/bfnrt", at[1], 8) ? 2 : 0;
    int32_t number = unicode_escape(at, end);
    if (number < 0) return 0;
    if (number >> 11 != 0xD800 >> 11) return 6;
    return number < 0xDC00 && unicode_escape(at + 6, end) >> 10 == 0xDC00 >> 10 ? 12 : 0;
}

/* How long the character beyond ASCII is that stands here; 0: it is not UTF-8. */
static size_t character_length(const uint8_t *at, const uint8_t *end) {
    size_t length = *at < 0xE0 ? 2 : *at < 0xF0 ? 3 : 4;
    if (*at < 0xC2 || *at > 0xF4 || (size_t)(end - at) < length) return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    /* Not longer than needed, no half of a surrogate pair, nothing beyond U+10FFFF. */
    if ((*at == 0xE0 && at[1] < 0xA0) || (*at == 0xED && at[1] > 0x9F)) return 0;
    if ((*at == 0xF0 && at[1] < 0x90) || (*at == 0xF4 && at[1] > 0x8F)) return 0;
    return length;
}

/* Marks bytes of eight that are a quote, a backslash, below space or beyond ASCII. The lowest mark is right; above it a
 * borrow may have made others. */
static uint64_t strange_bytes(uint64_t word) {
    static const uint64_t ONES = 0x0101010101010101ull;
    uint64_t quotes = word ^ ONES * '"', escapes = word ^ ONES * '\\';
    uint64_t marks = ((quotes - ONES) & ~quotes) | ((escapes - ONES) & ~escapes) | ((word - ONES * ' ') & ~word) | word;
    return marks & ONES * 0x80;
}

/* A string with anything in it that JSON allows. */
static int skip_string(text_t *text) {
    if (!take(text, '"')) return 0;
    const uint8_t *at = text->at, *end = text->end;
    while (at < end) {
        if (end - at >= 8) {
            uint64_t strange = strange_bytes(word_at(at));
            at += strange ? __builtin_ctzll(strange) >> 3 : 8;
            if (!strange) continue;
        }
        size_t length = *at == '\\' ? escape_length(at, end) : *at >= 0x80 ? character_length(at, end) : *at >= ' ';
        if (*at == '"') {
            text->at = at + 1;
            return 1;
        }
        if (!length) return 0;
        at += length;
    }
    return 0;
}

/* Any JSON value: checked, but not kept. Of white space only spaces; numbers are short, and have no exponent. */
int skip_value(text_t *text, int depth) {
    int flag;
    skip_spaces(text);
    if (text->at == text->end || depth > DEPTH_MAX) return 0;
    switch (*text->at) {
        case '"': return skip_string(text);
        case 't':
        case 'f': return read_flag(text, &flag);
        case 'n': return take_word(text, "null");
        case '[':
            text->at++;
            if (take(text, ']')) return 1;
            do {
                if (!skip_value(text, depth + 1)) return 0;
            } while (take(text, ','));
            return take(text, ']');
        case '{':
            text->at++;
            if (take(text, '}')) return 1;
            do {
                if (!skip_string(text) || !take(text, ':') || !skip_value(text, depth + 1)) return 0;
            } while (take(text, ','));
            return take(text, '}');
        default: return skip_number(text);
    }
}
