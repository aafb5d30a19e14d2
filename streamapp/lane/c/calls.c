#include "calls.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "metering.h"
#include "pack.h"

enum { HOUR_MS = 3600000 };

#define NO_MEMORY (-2)

struct calls {
    ids_t *ids;
    rows_t *rows;
    int32_t partition, partitions;
    int64_t future_ms;
    buffer_t account, payment;
};

calls_t *calls_new(ids_t *ids, rows_t *rows, int32_t partition, int32_t partitions, int64_t future_ms) {
    calls_t *calls = calloc(1, sizeof *calls);
    if (!calls) return NULL;
    calls->ids = ids;
    calls->rows = rows;
    calls->partition = partition;
    calls->partitions = partitions;
    calls->future_ms = future_ms;
    return calls;
}

void calls_free(calls_t *calls) {
    if (!calls) return;
    buffer_free(&calls->account);
    buffer_free(&calls->payment);
    free(calls);
}

static void put_span(buffer_t *buffer, span_t span) { put_string(buffer, span.at, span.length); }

static void put_account(buffer_t *buffer, const call_t *call) {
    buffer->length = 0;
    put_array(buffer, 4);
    put_span(buffer, call->org);
    put_span(buffer, call->agent);
    put_span(buffer, call->consumer);
    put_span(buffer, call->currency);
}

static void put_wallet(buffer_t *buffer, span_t wallet) {
    if (wallet.at) put_span(buffer, wallet);
    else put_nil(buffer);
}

static void put_payment(buffer_t *buffer, const call_t *call) {
    buffer->length = 0;
    put_array(buffer, 4);
    put_span(buffer, call->chain);
    put_number(buffer, call->chain_id);
    put_wallet(buffer, call->agent_wallet);
    put_wallet(buffer, call->consumer_wallet);
}

/* Whether the record key is the agent's, and murmur2 puts it on this partition. */
static int is_at_home(const calls_t *calls, const call_t *call, const uint8_t *key, size_t length) {
    if (length != call->agent.length || memcmp(key, call->agent.at, length)) return 0;
    return (int32_t)((murmur2(key, length) & 0x7FFFFFFF) % (uint32_t)calls->partitions) == calls->partition;
}

typedef enum { COUNTED, REPEATED, NOT_PLAIN, OUT_OF_MEMORY } verdict_t;

static verdict_t add(calls_t *calls, const call_t *call, int64_t offset) {
    put_account(&calls->account, call);
    put_payment(&calls->payment, call);
    if (calls->account.is_full || calls->payment.is_full) return OUT_OF_MEMORY;
    added_t added = {
        .hour_ms = call->at_ms - call->at_ms % HOUR_MS,
        .account = calls->account.bytes,
        .account_length = calls->account.length,
        .method = call->method.at,
        .method_length = call->method.length,
        .payment = calls->payment.bytes,
        .payment_length = calls->payment.length,
        .calls = 1,
        .cost_low = (uint64_t)call->amount,
        .cost_high = (uint64_t)(call->amount >> 64),
        .first_offset = offset,
        .last_offset = offset,
    };
    int done = rows_add(calls->rows, &added, 0);
    return done == NO_MEMORY ? OUT_OF_MEMORY : done < 0 ? NOT_PLAIN : COUNTED;
}

static verdict_t count(calls_t *calls, const uint8_t *payload, const part_t *part, run_t *run) {
    call_t call;
    const uint8_t *value = payload + part->value_at;
    if (part->key_length < 0 || part->value_length < 0) return NOT_PLAIN;
    if (!call_read(value, (size_t)part->value_length, &call)) return NOT_PLAIN;
    if (call.at_ms >= run->next_mark_ms || call.at_ms - calls->future_ms > part->timestamp) return NOT_PLAIN;
    if (!is_at_home(calls, &call, payload + part->key_at, (size_t)part->key_length)) return NOT_PLAIN;

    mark_t mark;
    known_t known = ids_look(calls->ids, call.id.at, call.id.length, value, (size_t)part->value_length, &mark);
    if (known != ID_NEW) return known == ID_SAME ? REPEATED : NOT_PLAIN;

    uint32_t expiry_h = rows_expiry(calls->rows, call.at_ms - call.at_ms % HOUR_MS);
    if (!expiry_h) return NOT_PLAIN;
    verdict_t verdict = add(calls, &call, part->offset);
    if (verdict != COUNTED) return verdict;
    if (!ids_add(calls->ids, &mark, expiry_h)) return OUT_OF_MEMORY;
    if (call.at_ms > run->watermark_ms) run->watermark_ms = call.at_ms;
    return COUNTED;
}

int64_t calls_run(calls_t *calls, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until, run_t *run) {
    for (int64_t at = from; at < until; at++) {
        verdict_t verdict = count(calls, payload, &parts[at], run);
        if (verdict == NOT_PLAIN) return at;
        if (verdict == OUT_OF_MEMORY) return NO_MEMORY;
        run->duplicates += verdict == REPEATED;
    }
    return until;
}
