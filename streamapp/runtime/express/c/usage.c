#include "usage.h"

#include <string.h>

enum {
    ID_MAX = 128,
    NAME_MAX = 256,
    CURRENCY_MAX = 16,
    COST_DECIMALS = 12,
    COST_DIGITS_MAX = 18,
    MEASURE_DIGITS_MAX = 15, /* more, and an exponent, are left to Python */
    MEASURE_DECIMALS = 3,
    FRACTION_MAX = 30,
    DEPTH_MAX = 32,
    DAY_S = 86400,
    YEAR_MIN = 1971, /* the edges of what a timestamp may be are left to Python, too */
    YEAR_MAX = 9998,
};

#define TOKENS_MAX 1000000000ll /* so few that no sum of a chunk overflows */
#define MEASURE_MAX 1000000000ull

/* What a field's value must be. */
typedef enum { SKIP, EXACTLY, NAME, ID, LABEL, TIMESTAMP, COUNT, MEASURE, COST, FLAG, STATUS, CURRENCY, DATA } kind_t;

typedef struct {
    const char *name;
    size_t length;
    const char *exactly;
    kind_t kind;
    int is_optional; /* may be null, or not there */
    size_t offset;   /* where in `fields_t` the value goes */
} field_t;

typedef struct {
    span_t fixed, label;
    usage_t usage;
    int64_t total_tokens, tokens;
} fields_t;

#define IN(member) offsetof(fields_t, member)
#define NAMED(text) text, sizeof(text) - 1

/* Fields stand in the order of the standard's sample: the next key is looked for at the next field first. */
static const field_t ENVELOPE[] = {
    {NAMED("schema"), "hanzo.stream.v1", EXACTLY, 0, IN(fixed)},
    {NAMED("id"), 0, ID, 0, IN(usage.id)},
    {NAMED("type"), "llm.usage.completed", EXACTLY, 0, IN(fixed)},
    {NAMED("source"), 0, NAME, 0, IN(label)},
    {NAMED("timestamp"), 0, TIMESTAMP, 0, IN(usage.at_ms)},
    {NAMED("team_id"), 0, NAME, 0, IN(usage.team)},
    {NAMED("org_id"), 0, NAME, 0, IN(usage.org)}, /* without it the directory is asked: not here */
    {NAMED("data"), 0, DATA, 0, 0},
};

static const field_t PAYLOAD[] = {
    {NAMED("request_id"), 0, LABEL, 1, IN(label)},
    {NAMED("model"), 0, NAME, 0, IN(usage.model)},
    {NAMED("provider"), 0, NAME, 0, IN(usage.provider)},
    {NAMED("prompt_tokens"), 0, COUNT, 0, IN(usage.prompt_tokens)},
    {NAMED("completion_tokens"), 0, COUNT, 0, IN(usage.completion_tokens)},
    {NAMED("total_tokens"), 0, COUNT, 0, IN(total_tokens)},
    {NAMED("latency_ms"), 0, MEASURE, 1, IN(usage.latency_us)},
    {NAMED("cost_usd"), 0, COST, 0, IN(usage.cost)},
    {NAMED("user_id"), 0, LABEL, 1, IN(label)},
    {NAMED("api_key_hash"), 0, LABEL, 1, IN(label)},
    {NAMED("cache_hit"), 0, FLAG, 1, IN(usage.is_cache_hit)},
    {NAMED("stream"), 0, FLAG, 1, IN(usage.is_stream)},
    {NAMED("status"), 0, STATUS, 1, IN(usage.status)},
    {NAMED("currency"), 0, CURRENCY, 1, IN(usage.currency)},
    {NAMED("ttft_ms"), 0, MEASURE, 1, IN(usage.ttft_us)},
    {NAMED("cache_read_tokens"), 0, COUNT, 1, IN(tokens)},
    {NAMED("cache_write_tokens"), 0, COUNT, 1, IN(tokens)},
    {NAMED("project_id"), 0, LABEL, 1, IN(label)},
};

#define LENGTH(table) (sizeof(table) / sizeof *(table))

static int read_object(text_t *text, const field_t *table, size_t length, fields_t *fields);

/* Only printable ASCII and no backslash: so a string ends at the next quote, and needs no decoding. */
int is_plain(const uint8_t *at, size_t length) {
    unsigned strange = 0;
    for (size_t i = 0; i < length; i++) strange |= (unsigned)(at[i] - 0x20u) >= 0x5Fu || at[i] == '\\';
    return !strange;
}

static inline int is_digit(const text_t *text) { return text->at < text->end && (unsigned)(*text->at - '0') < 10; }

int take_word(text_t *text, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(text->end - text->at) < length || memcmp(text->at, word, length)) return 0;
    text->at += length;
    return 1;
}

int read_string(text_t *text, span_t *span) {
    if (!take(text, '"')) return 0;
    const uint8_t *close = memchr(text->at, '"', (size_t)(text->end - text->at));
    if (!close) return 0;
    *span = (span_t){text->at, (size_t)(close - text->at)};
    text->at = close + 1;
    return 1;
}

/* Digits without a leading zero, at most `limit`. */
int read_digits(text_t *text, int limit, uint64_t *number) {
    const uint8_t *start = text->at;
    *number = 0;
    while (is_digit(text) && text->at - start <= limit) *number = *number * 10 + (uint64_t)(*text->at++ - '0');
    ptrdiff_t digits = text->at - start;
    return digits > 0 && digits <= limit && (digits == 1 || *start != '0');
}

/* A point and digits, if there is one; returns how many digits, or -1. */
int read_fraction(text_t *text, int limit, uint64_t *number) {
    *number = 0;
    if (text->at == text->end || *text->at != '.') return 0;
    const uint8_t *start = ++text->at;
    while (is_digit(text) && text->at - start <= limit) {
        if (text->at - start < COST_DECIMALS) *number = *number * 10 + (uint64_t)(*text->at - '0');
        text->at++;
    }
    ptrdiff_t digits = text->at - start;
    return digits > 0 && digits <= limit ? (int)digits : -1;
}

/* Whether a number has ended where it was read to: no exponent, no point that was not expected. */
int has_ended(const text_t *text) {
    if (text->at == text->end) return 0;
    return *text->at == ',' || *text->at == '}' || *text->at == ']' || *text->at == ' ';
}

int read_count(text_t *text, int64_t *count) {
    uint64_t number;
    if (!read_digits(text, 10, &number) || !has_ended(text) || number > TOKENS_MAX) return 0;
    *count = (int64_t)number;
    return 1;
}

/* Milliseconds, kept as microseconds where they are whole ones. */
static int read_measure(text_t *text, int64_t *us) {
    static const uint64_t TENS[] = {1000, 100, 10, 1};
    uint64_t whole, fraction;
    if (!read_digits(text, MEASURE_DIGITS_MAX, &whole)) return 0;
    int decimals = read_fraction(text, FRACTION_MAX, &fraction);
    if (decimals < 0 || !has_ended(text)) return 0;
    int is_exact = whole < MEASURE_MAX && decimals <= MEASURE_DECIMALS;
    *us = is_exact ? (int64_t)(whole * 1000 + fraction * TENS[decimals]) : INEXACT;
    return 1;
}

static int read_cost(text_t *text, unsigned __int128 *cost) {
    static const uint64_t TENS[] = {1,         10,         100,         1000,         10000,         100000,       1000000,
                                    10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000};
    uint64_t whole, fraction;
    if (!read_digits(text, COST_DIGITS_MAX, &whole)) return 0;
    int decimals = read_fraction(text, COST_DECIMALS, &fraction);
    if (decimals < 0 || !has_ended(text)) return 0;
    *cost = (unsigned __int128)whole * TENS[COST_DECIMALS] + fraction * TENS[COST_DECIMALS - decimals];
    return 1;
}

int read_flag(text_t *text, int *flag) {
    *flag = text->at < text->end && *text->at == 't';
    return take_word(text, *flag ? "true" : "false");
}

static int read_status(text_t *text, int *number) {
    static const char *const STATUSES[] = {"success", "error", "timeout", "rate_limited"};
    span_t status;
    if (!read_string(text, &status)) return 0;
    for (*number = 0; *number < 4; ++*number)
        if (equals(status, STATUSES[*number])) return 1;
    return 0;
}

int read_currency(text_t *text, span_t *currency) {
    if (!read_string(text, currency) || !currency->length || currency->length > CURRENCY_MAX) return 0;
    for (size_t i = 0; i < currency->length; i++) {
        uint8_t letter = currency->at[i];
        if ((unsigned)(letter - '0') >= 10 && (unsigned)(letter - 'A') >= 26) return 0;
    }
    return 1;
}

int read_id(text_t *text, span_t *id) {
    return read_string(text, id) && id->length && id->length <= ID_MAX && !memchr(id->at, ' ', id->length);
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

static int read_value(text_t *text, const field_t *field, fields_t *fields) {
    void *place = (char *)fields + field->offset;
    span_t *span = place;
    skip_spaces(text);
    if (field->is_optional && text->at < text->end && *text->at == 'n') return take_word(text, "null");
    switch (field->kind) {
        case SKIP: return skip_value(text, 2);
        case EXACTLY: return read_string(text, span) && equals(*span, field->exactly);
        case NAME: return read_string(text, span) && span->length && span->length <= NAME_MAX;
        case ID: return read_id(text, span);
        case LABEL: return read_string(text, span) && span->length <= NAME_MAX;
        case TIMESTAMP: return read_timestamp(text, place);
        case COUNT: return read_count(text, place);
        case MEASURE: return read_measure(text, place);
        case COST: return read_cost(text, place);
        case FLAG: return read_flag(text, place);
        case STATUS: return read_status(text, place);
        case CURRENCY: return read_currency(text, place);
        case DATA: return read_object(text, PAYLOAD, LENGTH(PAYLOAD), fields);
    }
    return 0;
}

static const field_t *field_of(span_t key, const field_t *table, size_t length, size_t guess) {
    static const field_t UNKNOWN = {NAMED(""), 0, SKIP, 0, 0};
    for (size_t i = 0, at = guess; i < length; i++, at++) {
        const field_t *field = &table[at < length ? at : at - length];
        if (key.length == field->length && !memcmp(key.at, field->name, key.length)) return field;
    }
    return &UNKNOWN;
}

static int read_object(text_t *text, const field_t *table, size_t length, fields_t *fields) {
    uint32_t seen = 0;
    size_t next = 0;
    span_t key;
    if (!take(text, '{')) return 0;
    do {
        if (!read_string(text, &key) || !take(text, ':')) return 0;
        const field_t *field = field_of(key, table, length, next);
        if (field->kind != SKIP) {
            size_t at = (size_t)(field - table);
            if (seen >> at & 1) return 0;
            seen |= 1u << at;
            next = at + 1;
        }
        if (!read_value(text, field, fields)) return 0;
    } while (take(text, ','));
    for (size_t at = 0; at < length; at++)
        if (!table[at].is_optional && !(seen >> at & 1)) return 0;
    return take(text, '}');
}

int usage_read(const uint8_t *value, size_t length, usage_t *usage) {
    if (!is_plain(value, length)) return 0;
    fields_t fields = {0};
    text_t text = {value, value + length};
    fields.usage.currency = (span_t){(const uint8_t *)"USD", 3};
    fields.usage.latency_us = fields.usage.ttft_us = UNMEASURED;
    fields.usage.is_stream = -1;
    if (!read_object(&text, ENVELOPE, LENGTH(ENVELOPE), &fields)) return 0;
    skip_spaces(&text);
    if (text.at != text.end) return 0;
    if (fields.total_tokens != fields.usage.prompt_tokens + fields.usage.completion_tokens) return 0;
    *usage = fields.usage;
    usage->is_error = usage->status != 0;
    return 1;
}
