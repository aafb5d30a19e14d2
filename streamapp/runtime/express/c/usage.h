/* A usage event in a record's value, when it is plain: printable ASCII without escapes, one line, no field twice, nothing
 * that needs judging. Whatever is not plain is left to Python (schemas/decode.py), which also knows why it is refused.
 * What is accepted here, the models accept, with the same values: tests/property/test_express.py holds it to that. */
#ifndef USAGE_H
#define USAGE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *at;
    size_t length;
} span_t;

typedef struct {
    span_t id, team, org, provider, model, currency;
    int64_t at_ms;
    int64_t prompt_tokens, completion_tokens;
    unsigned __int128 cost; /* in units of 10^-12 */
    int is_error, is_cache_hit;
    int status;    /* 0 success, 1 error, 2 timeout, 3 rate_limited */
    int is_stream; /* -1: the event does not say */
    int64_t latency_us, ttft_us; /* UNMEASURED, or INEXACT */
} usage_t;

/* A duration that the event does not state; one that is not whole microseconds, or longer than ten days. */
#define UNMEASURED (-1)
#define INEXACT (-2)

/* Read the event. Returns 0 if it is not plain; then `usage` is undefined. */
int usage_read(const uint8_t *value, size_t length, usage_t *usage);

/* Pieces of the reader, for those of other events (metering.c). Each reads at `at` and moves it; 0: it is not plain. */
typedef struct {
    const uint8_t *at, *end;
} text_t;

static inline void skip_spaces(text_t *text) {
    while (text->at < text->end && *text->at == ' ') text->at++;
}

static inline int take(text_t *text, char wanted) {
    skip_spaces(text);
    if (text->at == text->end || *text->at != (uint8_t)wanted) return 0;
    text->at++;
    return 1;
}

static inline int equals(span_t span, const char *text) {
    return strlen(text) == span.length && !memcmp(span.at, text, span.length);
}

int is_plain(const uint8_t *at, size_t length);
int take_word(text_t *text, const char *word);
int read_string(text_t *text, span_t *span);
int read_digits(text_t *text, int limit, uint64_t *number);
int read_fraction(text_t *text, int limit, uint64_t *number);
int has_ended(const text_t *text);
int read_count(text_t *text, int64_t *count);
int read_flag(text_t *text, int *flag);
int read_currency(text_t *text, span_t *currency);
int read_id(text_t *text, span_t *id);
int read_timestamp(text_t *text, int64_t *at_ms);
int skip_value(text_t *text, int depth);

#endif
