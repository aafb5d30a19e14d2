/* A captured event in a record's value, when it is plain: printable ASCII without escapes around its properties, one
 * line, no field twice, with a uuid, nothing that needs judging. The properties may be any JSON that is not very deep.
 * Whatever is not plain is left to Python (schemas/judging/insights.py), which also knows why it is refused. What is accepted
 * here, the models accept, with the same values: tests/property/test_event_columns.py holds it to that. */
#ifndef CAPTURED_H
#define CAPTURED_H

#include "text.h"

#define KEPT_UNTIL_MS 4102444800000 /* as in schemas/judging/insights.py */

/* `session` and `ip` are empty where the event has none. */
typedef struct {
    span_t uuid, event, properties, team, distinct, session, ip;
    int64_t at_ms;
} captured_t;

/* Read the event. Returns 0 if it is not plain; then `event` is undefined. */
int captured_read(const uint8_t *value, size_t length, captured_t *event);

#endif
