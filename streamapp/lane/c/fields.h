/* Reading a JSON object by a table of its fields. Included by a reader of events behind its `kind_t` (SKIP is 0) and its
 * `fields_t`, where values go; it defines `read_value`. So every reader has its own copy, with its values read inline. */
#ifndef FIELDS_H
#define FIELDS_H

#include <limits.h>
#include <stddef.h>

typedef struct {
    const char *name;
    size_t length;
    const char *quoted;   /* in quotes, a colon behind it */
    const char *words[2]; /* what the value may be, where only these are */
    kind_t kind;
    int is_optional; /* may be null, or not there */
    size_t offset;   /* where in `fields_t` the value goes */
} field_t;

static inline int read_value(text_t *text, const field_t *field, fields_t *fields);

#define IN(member) offsetof(fields_t, member)
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

/* Each field of a table has a bit of this. */
typedef uint32_t seen_t;

static int read_fields(text_t *text, const field_t *table, size_t length, fields_t *fields) {
    seen_t seen = 0;
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
            seen |= (seen_t)1 << at;
            next = at + 1;
        }
        if (!read_value(text, field, fields)) return 0;
    } while (take(text, ','));
    for (size_t at = 0; at < length; at++)
        if (!table[at].is_optional && !(seen >> at & 1)) return 0;
    return take(text, '}');
}

/* Reads an object by a table of so many fields. */
#define read_object(text, table, length, fields)                                                                        \
    ((void)sizeof(struct {                                                                                              \
         _Static_assert((length) <= sizeof(seen_t) * CHAR_BIT, "the table has more fields than `seen_t` has bits");    \
         int unused;                                                                                                    \
     }),                                                                                                                \
     read_fields(text, table, length, fields))

#endif
