#include "read/event.h"

#include <limits.h>

enum { MEASURE_DECIMALS = 3, MEASURE_MAX = 86400000, PRICE_MAX = 64 };

typedef struct {
    const char *quoted; /* the name in quotes, a colon behind it */
    size_t length;      /* of the name */
    kind_t kind;
    int is_required; /* else it may be null, or not there */
    size_t offset;   /* where in the struct the value goes */
    size_t low, high; /* length of a text */
    const char *const *words; /* what the value may be, where only these are; NULL at the end */
    const table_t *payload;
} field_t;

struct table {
    const field_t *fields;
    size_t count;
    int required;      /* so many must be there */
    const void *fresh; /* the struct with every default */
    size_t size;
};

/* Each field of a table has a bit of this. */
typedef uint32_t seen_t;

#define LENGTH(table) (sizeof(table) / sizeof *(table))
#define WORDS(...) (const char *const[]){__VA_ARGS__, NULL}
#define TEXT_OF(text) {(const uint8_t *)text, sizeof text - 1}
#define ROW(IN, name, kind, is_required, low, high, words, fresh)                                                       \
    {"\"" #name "\":", sizeof #name - 1, kind, is_required, offsetof(IN, name), low, high, words, NULL},
#define REQUIRED(IN, name, kind, is_required, ...) +is_required
#define FRESH(IN, name, kind, is_required, low, high, words, fresh) .name = fresh,

#define EVENT(name, ENVELOPE, PAYLOAD)                                                                                  \
    static const field_t name##_payload_fields[] = {PAYLOAD(ROW, struct name##_data)};                                  \
    static const table_t name##_payload = {name##_payload_fields, LENGTH(name##_payload_fields), 0 PAYLOAD(REQUIRED, _), \
                                           NULL, 0};                                                                    \
    static const field_t name##_fields[] = {                                                                            \
        ENVELOPE(ROW, envelope_t){"\"data\":", 4, DATA, 1, offsetof(name##_t, data), 0, 0, NULL, &name##_payload},      \
    };                                                                                                                  \
    _Static_assert(LENGTH(name##_payload_fields) <= sizeof(seen_t) * CHAR_BIT,                                          \
                   "the table has more fields than `seen_t` has bits");                                                 \
    static const name##_t name##_fresh = {{ENVELOPE(FRESH, _)}, {PAYLOAD(FRESH, _)}};                                   \
    const table_t name = {name##_fields, LENGTH(name##_fields), 1 ENVELOPE(REQUIRED, _), &name##_fresh, sizeof name##_fresh}

EVENT(llm_usage, LLM_USAGE, LLM_USAGE_DATA);
EVENT(rpc_metered, RPC_METERED, RPC_METERED_DATA);
EVENT(event_captured, EVENT_CAPTURED, EVENT_CAPTURED_DATA);

static inline int read_limited(text_t *text, const field_t *field, span_t *span) {
    return read_string(text, span) && span->length >= field->low && span->length <= field->high;
}

/* Visible ASCII. */
static int read_id(text_t *text, const field_t *field, span_t *id) {
    return read_limited(text, field, id) && !memchr(id->at, ' ', id->length);
}

static int is_digit_or(uint8_t byte, uint8_t first, unsigned letters) {
    return (unsigned)(byte - '0') < 10 || (unsigned)(byte - first) < letters;
}

static int read_currency(text_t *text, const field_t *field, span_t *currency) {
    if (!read_limited(text, field, currency)) return 0;
    for (size_t i = 0; i < currency->length; i++)
        if (!is_digit_or(currency->at[i], 'A', 26)) return 0;
    return 1;
}

/* Letters, digits, `.`, `_` and `-`, beginning with a letter (decision 15). */
static int read_token(text_t *text, const field_t *field, span_t *token) {
    if (!read_limited(text, field, token) || (unsigned)(*token->at - '0') < 10) return 0;
    for (size_t i = 0; i < token->length; i++) {
        uint8_t byte = token->at[i];
        if (!is_digit_or(byte | 0x20, 'a', 26) && (!i || (byte != '.' && byte != '_' && byte != '-'))) return 0;
    }
    return 1;
}

/* In the one form that is sent: small letters, four dashes. */
static int read_uuid(text_t *text, span_t *uuid) {
    static const char FORM[] = "00000000-0000-0000-0000-000000000000";
    if (!read_string(text, uuid) || uuid->length != sizeof FORM - 1) return 0;
    for (size_t i = 0; i < uuid->length; i++)
        if (FORM[i] == '-' ? uuid->at[i] != '-' : !is_digit_or(uuid->at[i], 'a', 6)) return 0;
    return 1;
}

/* Whether a number may be one that ClickHouse does not take: 19 digits in a row or an exponent. Of valid JSON. */
static int has_wide_number(span_t json) {
    const uint8_t *at = json.at, *end = json.at + json.length;
    while (at < end) {
        if (*at == '"') {
            for (at++; at < end && *at != '"'; at++) at += *at == '\\';
            at++;
        } else if ((unsigned)(*at - '0') < 10) {
            const uint8_t *start = at;
            while (at < end && (unsigned)(*at - '0') < 10) at++;
            if (at - start >= 19 || (at < end && (*at | 0x20) == 'e')) return 1;
        } else {
            at++;
        }
    }
    return 0;
}

/* Its bytes may be any JSON that is not very deep. */
static int read_kept(text_t *text, span_t *object) {
    const uint8_t *start = text->at;
    if (text->at == text->end || *text->at != '{' || !skip_value(text, 2)) return 0;
    *object = text->kept = (span_t){start, (size_t)(text->at - start)};
    return !has_wide_number(*object); /* the slow reader turns it into a text */
}

/* Milliseconds, kept as microseconds where they are whole ones. Any other value is none, but no reason to refuse. */
static int read_measure(text_t *text, int64_t *us) {
    static const uint64_t TENS[] = {1000, 100, 10, 1};
    uint64_t whole, fraction;
    if (!is_digit(text)) {
        const uint8_t *sign = text->at;
        *us = UNUSABLE;
        /* -0 is 0: Python knows. */
        return skip_value(text, 2) && !(*sign == '-' && sign[1] == '0');
    }
    if (!read_digits(text, MEASURE_DIGITS_MAX, &whole)) return 0;
    int decimals = read_fraction(text, FRACTION_MAX, &fraction);
    if (decimals < 0 || !has_ended(text)) return 0;
    if (whole > MEASURE_MAX) *us = UNUSABLE;
    else if (whole == MEASURE_MAX && decimals) return 0;
    else *us = decimals <= MEASURE_DECIMALS ? (int64_t)(whole * 1000 + fraction * TENS[decimals]) : INEXACT;
    return 1;
}

/* A decimal in quotes. It is not rounded. */
static int read_price(text_t *text, money_t *price) {
    span_t span;
    if (!read_string(text, &span) || span.length > PRICE_MAX) return 0;
    text_t digits = {.at = span.at, .end = span.at + span.length};
    return read_money(&digits, &price->units, &price->is_rounded) && digits.at == digits.end && !price->is_rounded;
}

static int read_choice(text_t *text, const field_t *field, int *number) {
    span_t word;
    if (!read_string(text, &word)) return 0;
    for (*number = 0; field->words[*number]; ++*number)
        if (equals(word, field->words[*number])) return 1;
    return 0;
}

static int read_object(text_t *text, const table_t *table, void *to);

static inline int read_value(text_t *text, const field_t *field, void *to) {
    void *place = (char *)to + field->offset;
    money_t *money = place;
    skip_spaces(text);
    if (!field->is_required && text->at < text->end && *text->at == 'n') return take_word(text, "null");
    switch (field->kind) {
        case SKIP: return skip_value(text, 2);
        case TEXT: return read_limited(text, field, place);
        case ID: return read_id(text, field, place);
        case CURRENCY: return read_currency(text, field, place);
        case TOKEN: return read_token(text, field, place);
        case UUID: return read_uuid(text, place);
        case OBJECT: return read_kept(text, place);
        case TIMESTAMP: return read_timestamp(text, place);
        case COUNT: return read_count(text, place);
        case MEASURE: return read_measure(text, place);
        case COST: return read_money(text, &money->units, &money->is_rounded) && has_ended(text);
        case PRICE: return read_price(text, place);
        case FLAG: return read_flag(text, place);
        case CHOICE: return read_choice(text, field, place);
        case DATA: return read_object(text, field->payload, place);
    }
    return 0;
}

static const field_t *field_of(span_t key, const table_t *table, size_t guess) {
    static const field_t UNKNOWN = {.kind = SKIP};
    for (size_t i = 0, at = guess; i < table->count; i++, at++) {
        const field_t *field = &table->fields[at < table->count ? at : at - table->count];
        if (key.length == field->length && same(key.at, field->quoted + 1, key.length)) return field;
    }
    return &UNKNOWN;
}

/* The next key is looked for at the next field first. */
static int read_object(text_t *text, const table_t *table, void *to) {
    seen_t seen = 0;
    size_t next = 0;
    int required = 0;
    span_t key;
    if (!take(text, '{')) return 0;
    do {
        const field_t *field = &table->fields[next];
        skip_spaces(text);
        if (next == table->count || !take_text(text, field->quoted, field->length + 3)) {
            if (!read_string(text, &key) || !take(text, ':')) return 0;
            field = field_of(key, table, next);
        }
        if (field->kind != SKIP) {
            size_t at = (size_t)(field - table->fields);
            if (seen >> at & 1) return 0;
            seen |= (seen_t)1 << at;
            next = at + 1;
            required += field->is_required;
        }
        if (!read_value(text, field, to)) return 0;
    } while (take(text, ','));
    return required == table->required && take(text, '}');
}

int event_read(const table_t *table, const uint8_t *value, size_t length, void *event) {
    text_t text = {.at = value, .end = value + length, .kept = {value, 0}};
    memcpy(event, table->fresh, table->size);
    if (!read_object(&text, table, event)) return 0;
    skip_spaces(&text);
    /* Strings were read as if they were plain. What is kept was not, so what stands around it is looked at now. */
    const uint8_t *behind = text.kept.at + text.kept.length;
    return text.at == text.end && is_plain(value, (size_t)(text.kept.at - value)) &&
           is_plain(behind, (size_t)(text.end - behind));
}
