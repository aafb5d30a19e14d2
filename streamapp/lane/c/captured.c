#include "captured.h"

enum { CUT_AT = 200 };

/* What a field's value must be. NAME and CUT are never empty. */
typedef enum { SKIP, EXACTLY, NAME, CUT, ID, LABEL, TIMESTAMP, UUID, OBJECT, DATA } kind_t;

typedef struct {
    span_t label;
    captured_t event;
    int64_t sent_ms;
} fields_t;

#include "fields.h"

/* Fields stand in the order in which capture writes them: the next key is looked for at the next field first. */
static const field_t ENVELOPE[] = {
    {NAMED("schema"), {"hanzo.stream.v1"}, EXACTLY, 0, IN(label)},
    {NAMED("id"), {0}, ID, 0, IN(label)},
    {NAMED("type"), {"insights.event.captured"}, EXACTLY, 0, IN(label)},
    {NAMED("source"), {0}, NAME, 0, IN(label)},
    {NAMED("timestamp"), {0}, TIMESTAMP, 0, IN(event.at_ms)},
    {NAMED("team_id"), {0}, NAME, 0, IN(event.team)},
    {NAMED("org_id"), {0}, NAME, 1, IN(label)},
    {NAMED("data"), {0}, DATA, 0, 0},
};

static const field_t PAYLOAD[] = {
    {NAMED("event"), {0}, CUT, 0, IN(event.event)},
    {NAMED("distinct_id"), {0}, CUT, 0, IN(event.distinct)},
    {NAMED("properties"), {0}, OBJECT, 0, IN(event.properties)},
    {NAMED("ip"), {0}, LABEL, 1, IN(event.ip)},
    {NAMED("session_id"), {0}, CUT, 1, IN(event.session)},
    {NAMED("sent_at"), {0}, TIMESTAMP, 1, IN(sent_ms)},
    {NAMED("uuid"), {0}, UUID, 0, IN(event.uuid)}, /* without it one is made of the id: not here */
};

static int read_filled(text_t *text, span_t *span, size_t limit) {
    return read_string(text, span) && span->length && span->length <= limit;
}

/* In the one form that is sent: small letters, four dashes. */
static int read_uuid(text_t *text, span_t *uuid) {
    static const char FORM[] = "00000000-0000-0000-0000-000000000000";
    if (!read_string(text, uuid) || uuid->length != sizeof FORM - 1) return 0;
    for (size_t i = 0; i < uuid->length; i++) {
        uint8_t letter = uuid->at[i];
        int is_hex = (unsigned)(letter - '0') < 10 || (unsigned)(letter - 'a') < 6;
        if (FORM[i] == '-' ? letter != '-' : !is_hex) return 0;
    }
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

static int read_properties(text_t *text, span_t *properties) {
    const uint8_t *start = text->at;
    if (text->at == text->end || *text->at != '{' || !skip_value(text, 2)) return 0;
    *properties = (span_t){start, (size_t)(text->at - start)};
    return !has_wide_number(*properties); /* the slow reader turns it into a text */
}

static inline int read_value(text_t *text, const field_t *field, fields_t *fields) {
    void *place = (char *)fields + field->offset;
    skip_spaces(text);
    if (field->is_optional && text->at < text->end && *text->at == 'n') return take_word(text, "null");
    switch (field->kind) {
        case SKIP: return skip_value(text, 2);
        case EXACTLY: return read_string(text, place) && equals(*(span_t *)place, field->words[0]);
        case NAME: return read_filled(text, place, NAME_MAX);
        case CUT: return read_filled(text, place, CUT_AT);
        case ID: return read_id(text, place);
        case LABEL: return read_string(text, place) && ((span_t *)place)->length <= NAME_MAX;
        case TIMESTAMP: return read_timestamp(text, place);
        case UUID: return read_uuid(text, place);
        case OBJECT: return read_properties(text, place);
        case DATA: return read_object(text, PAYLOAD, LENGTH(PAYLOAD), fields);
    }
    return 0;
}

int captured_read(const uint8_t *value, size_t length, captured_t *event) {
    fields_t fields = {0};
    text_t text = {value, value + length};
    if (!read_object(&text, ENVELOPE, LENGTH(ENVELOPE), &fields)) return 0;
    skip_spaces(&text);
    if (text.at != text.end || fields.event.at_ms >= KEPT_UNTIL_MS) return 0;
    /* Strings were read as if they were plain. The properties were not, so what stands around them is looked at now. */
    span_t properties = fields.event.properties;
    const uint8_t *behind = properties.at + properties.length;
    if (!is_plain(value, (size_t)(properties.at - value)) || !is_plain(behind, (size_t)(text.end - behind))) return 0;
    *event = fields.event;
    return 1;
}
