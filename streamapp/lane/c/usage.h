/* A usage event in a record's value, when it is plain: printable ASCII without escapes, one line, no field twice, nothing
 * that needs judging. Whatever is not plain is left to Python (schemas/judging/decode.py), which also knows why it is refused.
 * What is accepted here, the models accept, with the same values: tests/property/test_fast_path.py holds it to that. */
#ifndef USAGE_H
#define USAGE_H

#include "text.h"

typedef struct {
    span_t id, team, org, provider, model, currency;
    int64_t at_ms;
    int64_t prompt_tokens, completion_tokens;
    int64_t other_tokens; /* in the total only */
    unsigned __int128 cost; /* in units of 10^-12, rounded half to even */
    int is_error, is_cache_hit;
    int status;    /* 0 success, 1 error, 2 timeout, 3 rate_limited, 4 any other text */
    int is_stream; /* -1: the event does not say */
    int64_t latency_us, ttft_us; /* UNMEASURED, INEXACT, or UNUSABLE */
    int is_rounded;              /* the cost as stated has more decimals */
} usage_t;

enum { STATUSES = 4, STATUS_MAX = 64 };

/* A duration that the event does not state; one that is not whole microseconds; what is no duration: negative, no number,
 * above 24 hours. */
#define UNMEASURED (-1)
#define INEXACT (-2)
#define UNUSABLE (-3)

/* Read the event. Returns 0 if it is not plain; then `usage` is undefined. */
int usage_read(const uint8_t *value, size_t length, usage_t *usage);

#endif
