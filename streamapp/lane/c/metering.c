#include "metering.h"

enum { CHAIN_ID = 36963, PRICE_MAX = 64 };

#define AMOUNT_END ((unsigned __int128)1000000000000000000ull * 1000000000000ull)

/* What a field's value must be. CHOICE: one of two words, which is whether it is the second. */
typedef enum { SKIP, EXACTLY, NAME, ID, LABEL, TIMESTAMP, COUNT, MEASURE, PRICE, FLAG, CHOICE, CURRENCY, DATA } kind_t;

typedef struct {
    span_t fixed, label;
    call_t call;
    unsigned __int128 price;
    int64_t quantity, tokens;
    int unit, is_error, is_free;
} fields_t;

#include "fields.h"

/* Fields stand in the order of decision 15: the next key is looked for at the next field first. */
static const field_t ENVELOPE[] = {
    {NAMED("schema"), {"hanzo.stream.v1"}, EXACTLY, 0, IN(fixed)},
    {NAMED("id"), {0}, ID, 0, IN(call.id)},
    {NAMED("type"), {"agent.rpc.metered"}, EXACTLY, 0, IN(fixed)},
    {NAMED("source"), {0}, NAME, 0, IN(label)},
    {NAMED("timestamp"), {0}, TIMESTAMP, 0, IN(call.at_ms)},
    {NAMED("team_id"), {0}, NAME, 1, IN(label)},
    {NAMED("org_id"), {0}, NAME, 0, IN(call.org)}, /* without it the directory is asked: not here */
    {NAMED("data"), {0}, DATA, 0, 0},
};

static const field_t PAYLOAD[] = {
    {NAMED("agent_id"), {0}, NAME, 0, IN(call.agent)},
    {NAMED("consumer_id"), {0}, NAME, 0, IN(call.consumer)},
    {NAMED("method"), {0}, NAME, 0, IN(call.method)},
    {NAMED("request_id"), {0}, LABEL, 1, IN(label)},
    {NAMED("unit"), {"per_request", "per_token"}, CHOICE, 1, IN(unit)},
    {NAMED("quantity"), {0}, COUNT, 0, IN(quantity)},
    {NAMED("price"), {0}, PRICE, 0, IN(price)},
    {NAMED("currency"), {0}, CURRENCY, 0, IN(call.currency)},
    {NAMED("status"), {"success", "error"}, CHOICE, 1, IN(is_error)},
    {NAMED("free_tier"), {0}, FLAG, 1, IN(is_free)},
    {NAMED("latency_ms"), {0}, MEASURE, 1, 0},
    {NAMED("model"), {0}, LABEL, 1, IN(label)},
    {NAMED("prompt_tokens"), {0}, COUNT, 1, IN(tokens)},
    {NAMED("completion_tokens"), {0}, COUNT, 1, IN(tokens)},
    {NAMED("chain"), {0}, NAME, 1, IN(call.chain)},
    {NAMED("chain_id"), {0}, COUNT, 1, IN(call.chain_id)},
    {NAMED("agent_wallet"), {0}, LABEL, 1, IN(call.agent_wallet)},
    {NAMED("consumer_wallet"), {0}, LABEL, 1, IN(call.consumer_wallet)},
};

/* A decimal in quotes. It is not rounded. */
static int read_price(text_t *text, unsigned __int128 *price) {
    span_t span;
    if (!read_string(text, &span)) return 0;
    text_t digits = {span.at, span.at + span.length};
    int is_rounded;
    return span.length <= PRICE_MAX && read_money(&digits, price, &is_rounded) && digits.at == digits.end && !is_rounded;
}

static int is_letter(uint8_t byte) { return (unsigned)((byte | 0x20) - 'a') < 26; }

/* Letters, digits, `.`, `_` and `-`, beginning with a letter (decision 15). */
static int read_token(text_t *text, span_t *currency) {
    if (!read_string(text, currency) || !currency->length || currency->length > 16 || !is_letter(*currency->at)) return 0;
    for (size_t i = 1; i < currency->length; i++) {
        uint8_t byte = currency->at[i];
        if (!is_letter(byte) && (unsigned)(byte - '0') >= 10 && byte != '.' && byte != '_' && byte != '-') return 0;
    }
    return 1;
}

static int read_choice(text_t *text, const field_t *field, int *is_second) {
    span_t word;
    if (!read_string(text, &word)) return 0;
    *is_second = equals(word, field->words[1]);
    return *is_second || equals(word, field->words[0]);
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
        case MEASURE: return skip_value(text, 2); /* no amount depends on it */
        case PRICE: return read_price(text, place);
        case FLAG: return read_flag(text, place);
        case CHOICE: return read_choice(text, field, place);
        case CURRENCY: return read_token(text, place);
        case DATA: return read_object(text, PAYLOAD, LENGTH(PAYLOAD), fields);
    }
    return 0;
}

int call_read(const uint8_t *value, size_t length, call_t *call) {
    if (!is_plain(value, length)) return 0;
    fields_t fields = {0};
    text_t text = {value, value + length};
    fields.call.chain = (span_t){(const uint8_t *)"hanzo", 5};
    fields.call.chain_id = CHAIN_ID;
    if (!read_object(&text, ENVELOPE, LENGTH(ENVELOPE), &fields)) return 0;
    skip_spaces(&text);
    if (text.at != text.end) return 0;
    unsigned __int128 amount;
    if (__builtin_mul_overflow(fields.price, (unsigned __int128)fields.quantity, &amount) || amount >= AMOUNT_END) return 0;
    *call = fields.call;
    call->amount = fields.is_error || fields.is_free ? 0 : amount;
    return 1;
}
