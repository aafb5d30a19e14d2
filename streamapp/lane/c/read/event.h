/* Events as they are read from a record's value when they are plain: printable ASCII without escapes around any object that
 * is kept as it is, one line, no field twice, nothing that needs judging. Whatever is not plain is left to Python
 * (schemas/judging/), which also knows why it is refused. What is accepted here, the models accept, with the same values:
 * tests/property/test_decode*.py and test_event_columns.py hold it to that.
 *
 * The fields are those of the models: events.h is written from them (streamapp/lane/events.py). */
#ifndef EVENT_H
#define EVENT_H

#include "read/events.h"
#include "read/text.h"

/* What a field's value must be. CHOICE: one of some words, by its number. OBJECT: kept as it is. DATA: the payload. */
typedef enum { SKIP, TEXT, ID, CURRENCY, TOKEN, UUID, OBJECT, TIMESTAMP, COUNT, MEASURE, COST, PRICE, FLAG, CHOICE, DATA } kind_t;

/* And how it is held. A text that is not stated and has no default is nowhere: `at` is null. A moment is in milliseconds
 * since 1970. A measurement is in microseconds, or UNMEASURED (not stated), INEXACT (not whole microseconds) or UNUSABLE (no
 * duration: negative, no number, above 24 hours). A flag that is not stated and has no default is -1. */
typedef span_t TEXT_t, ID_t, CURRENCY_t, TOKEN_t, UUID_t, OBJECT_t;
typedef int64_t TIMESTAMP_t, COUNT_t, MEASURE_t;
typedef int FLAG_t, CHOICE_t;
typedef struct {
    unsigned __int128 units; /* of 10^-12 */
    int is_rounded;          /* half to even: more decimals were stated */
} money_t;
typedef money_t COST_t, PRICE_t;

enum { UNMEASURED = -1, INEXACT = -2, UNUSABLE = -3 };

#define MEMBER(IN, name, kind, ...) kind##_t name;

/* The envelope of every event has the same fields; what they must be differs. */
typedef struct {
    LLM_USAGE(MEMBER, _)
} envelope_t;

#define EVENT_TYPE(name, PAYLOAD)                                                                                       \
    typedef struct {                                                                                                    \
        envelope_t envelope;                                                                                            \
        struct name##_data {                                                                                            \
            PAYLOAD(MEMBER, _)                                                                                          \
        } data;                                                                                                         \
    } name##_t

EVENT_TYPE(llm_usage, LLM_USAGE_DATA);
EVENT_TYPE(rpc_metered, RPC_METERED_DATA);
EVENT_TYPE(event_captured, EVENT_CAPTURED_DATA);

/* An event type: its fields in the order in which producers write them. */
typedef struct table table_t;

extern const table_t llm_usage, rpc_metered, event_captured;

/* Read an event into its struct. Returns 0 if it is not plain; then the struct is undefined. */
int event_read(const table_t *table, const uint8_t *value, size_t length, void *event);

#endif
