#include "usage.h"

enum { MEASURE_DECIMALS = 3 };

#define MEASURE_MAX 86400000ull

/* What a field's value must be. */
typedef enum { SKIP, EXACTLY, NAME, ID, LABEL, TIMESTAMP, COUNT, MEASURE, COST, FLAG, STATUS, CURRENCY, DATA } kind_t;

typedef struct {
    span_t fixed, label;
    usage_t usage;
    int64_t total_tokens, tokens;
} fields_t;

#include "fields.h"

/* Fields stand in the order of the standard's sample: the next key is looked for at the next field first. */
static const field_t ENVELOPE[] = {
    {NAMED("schema"), {"hanzo.stream.v1"}, EXACTLY, 0, IN(fixed)},
    {NAMED("id"), {0}, ID, 0, IN(usage.id)},
    {NAMED("type"), {"llm.usage.completed"}, EXACTLY, 0, IN(fixed)},
    {NAMED("source"), {0}, NAME, 0, IN(label)},
    {NAMED("timestamp"), {0}, TIMESTAMP, 0, IN(usage.at_ms)},
    {NAMED("team_id"), {0}, NAME, 0, IN(usage.team)},
    {NAMED("org_id"), {0}, NAME, 0, IN(usage.org)}, /* without it the directory is asked: not here */
    {NAMED("data"), {0}, DATA, 0, 0},
};

static const field_t PAYLOAD[] = {
    {NAMED("request_id"), {0}, LABEL, 1, IN(label)},
    {NAMED("model"), {0}, NAME, 0, IN(usage.model)},
    {NAMED("provider"), {0}, NAME, 0, IN(usage.provider)},
    {NAMED("prompt_tokens"), {0}, COUNT, 0, IN(usage.prompt_tokens)},
    {NAMED("completion_tokens"), {0}, COUNT, 0, IN(usage.completion_tokens)},
    {NAMED("total_tokens"), {0}, COUNT, 0, IN(total_tokens)},
    {NAMED("latency_ms"), {0}, MEASURE, 1, IN(usage.latency_us)},
    {NAMED("cost_usd"), {0}, COST, 0, IN(usage)},
    {NAMED("user_id"), {0}, LABEL, 1, IN(label)},
    {NAMED("api_key_hash"), {0}, LABEL, 1, IN(label)},
    {NAMED("cache_hit"), {0}, FLAG, 1, IN(usage.is_cache_hit)},
    {NAMED("stream"), {0}, FLAG, 1, IN(usage.is_stream)},
    {NAMED("status"), {0}, STATUS, 1, IN(usage.status)},
    {NAMED("currency"), {0}, CURRENCY, 1, IN(usage.currency)},
    {NAMED("ttft_ms"), {0}, MEASURE, 1, IN(usage.ttft_us)},
    {NAMED("cache_read_tokens"), {0}, COUNT, 1, IN(tokens)},
    {NAMED("cache_write_tokens"), {0}, COUNT, 1, IN(tokens)},
    {NAMED("project_id"), {0}, LABEL, 1, IN(label)},
};

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

static int read_cost(text_t *text, usage_t *usage) { return read_money(text, &usage->cost, &usage->is_rounded); }

static int read_status(text_t *text, int *number) {
    static const char *const KNOWN[STATUSES] = {"success", "error", "timeout", "rate_limited"};
    span_t status;
    if (!read_string(text, &status) || status.length > STATUS_MAX) return 0;
    for (*number = 0; *number < STATUSES; ++*number)
        if (equals(status, KNOWN[*number])) break;
    return 1;
}

static inline int read_value(text_t *text, const field_t *field, fields_t *fields) {
    void *place = (char *)fields + field->offset;
    span_t *span = place;
    skip_spaces(text);
    if (field->is_optional && text->at < text->end && *text->at == 'n') return take_word(text, "null");
    switch (field->kind) {
        case SKIP: return skip_value(text, 2);
        case EXACTLY: return read_string(text, span) && equals(*span, field->words[0]);
        case NAME: return read_string(text, span) && span->length && span->length <= NAME_MAX;
        case ID: return read_id(text, span);
        case LABEL: return read_string(text, span) && span->length <= NAME_MAX;
        case TIMESTAMP: return read_timestamp(text, place);
        case COUNT: return read_count(text, place);
        case MEASURE: return read_measure(text, place);
        case COST: return read_cost(text, place) && has_ended(text);
        case FLAG: return read_flag(text, place);
        case STATUS: return read_status(text, place);
        case CURRENCY: return read_currency(text, place);
        case DATA: return read_object(text, PAYLOAD, LENGTH(PAYLOAD), fields);
    }
    return 0;
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
    fields.usage.other_tokens = fields.total_tokens - fields.usage.prompt_tokens - fields.usage.completion_tokens;
    if (fields.usage.other_tokens < 0) return 0;
    *usage = fields.usage;
    usage->is_error = usage->status != 0;
    return 1;
}
