#include "text.h"

enum {
    DEPTH_MAX = 32,
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

static int skip_number(text_t *text) {
    uint64_t number;
    if (text->at < text->end && *text->at == '-') text->at++;
    return read_digits(text, MEASURE_DIGITS_MAX, &number) && read_fraction(text, FRACTION_MAX, &number) >= 0 &&
           has_ended(text);
}

/* Any JSON value: checked, but not kept. */
int skip_value(text_t *text, int depth) {
    span_t span;
    int flag;
    skip_spaces(text);
    if (text->at == text->end || depth > DEPTH_MAX) return 0;
    switch (*text->at) {
        case '"': return read_string(text, &span);
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
                if (!read_string(text, &span) || !take(text, ':') || !skip_value(text, depth + 1)) return 0;
            } while (take(text, ','));
            return take(text, '}');
        default: return skip_number(text);
    }
}
