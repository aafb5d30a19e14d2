/* Reading a JSON object by a table of its fields. Included by a reader of events behind its `kind_t` (SKIP is 0), its
 * `field_t` (`name`, `length`, `quoted`, `kind`, `is_optional`), its `fields_t`, and a declaration of `read_value`: so
 * every reader has its own copy, with its values read inline. */
#ifndef FIELDS_H
#define FIELDS_H

#define NAMED(text) text, sizeof(text) - 1, "\"" text "\":"
#define LENGTH(table) (sizeof(table) / sizeof *(table))

static const field_t *field_of(span_t key, const field_t *table, size_t length, size_t guess) {
    static const field_t UNKNOWN = {.kind = SKIP};
    for (size_t i = 0, at = guess; i < length; i++, at++) {
        const field_t *field = &table[at < length ? at : at - length];
        if (key.length == field->length && same(key.at, field->name, key.length)) return field;
    }
    return &UNKNOWN;
}

static int read_object(text_t *text, const field_t *table, size_t length, fields_t *fields) {
    uint32_t seen = 0;
    size_t next = 0;
    span_t key;
    if (!take(text, '{')) return 0;
    do {
        const field_t *field = &table[next];
        skip_spaces(text);
        if (next == length || !take_text(text, field->quoted, field->length + 3)) {
            if (!read_string(text, &key) || !take(text, ':')) return 0;
            field = field_of(key, table, length, next);
        }
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

#endif
