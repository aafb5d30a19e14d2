#include "tables/calls.h"

#define AMOUNT_END ((unsigned __int128)1000000000000000000ull * 1000000000000ull)
#define COST_END ((unsigned __int128)10000000000000000000ull * 10000000000000000000ull)

typedef struct {
    line_t base;
    int64_t calls;
    unsigned __int128 cost;
} method_t;

typedef struct {
    row_t base;
    uint8_t *payment; /* of the call at `last_offset` */
    size_t payment_length;
} account_t;

typedef struct {
    rows_lane_t rows;
    buffer_t payment;
} calls_lane_t;

static int pay(account_t *row, const uint8_t *payment, size_t length) {
    if (row->payment_length == length && same(row->payment, payment, length)) return 1;
    uint8_t *own = realloc(row->payment, length);
    if (!own) return 0;
    memcpy(own, payment, length);
    row->payment = own;
    row->payment_length = length;
    return 1;
}

/* As `Calls.cover` in Python: offsets below -1 are of calls on the partition before, and any other is newer. */
static int cover(account_t *row, const added_t *added, const uint8_t *payment, size_t payment_length) {
    int64_t first = added->first_offset;
    if (row->base.first_offset < 0 || (first >= 0 && first < row->base.first_offset)) row->base.first_offset = first;
    if (row->payment_length && added->last_offset <= row->base.last_offset) return 1;
    row->base.last_offset = added->last_offset;
    return pay(row, payment, payment_length);
}

/* Count in the line whose key is in the lane's. */
static int add(rows_lane_t *lane, hour_t *hour, size_t account_length, const added_t *added, int is_stored) {
    unsigned __int128 cost = (unsigned __int128)added->cost_high << 64 | added->cost_low;
    /* Before a row or a line is made: a new one holds any cost below the end. */
    if (!hour || cost >= COST_END) return NOT_THERE;
    int64_t at = rows_line(lane, hour, account_length, is_stored);
    if (at < 0) return NO_MEMORY;
    method_t *line = (method_t *)line_at(hour, at);
    if (line->cost + cost >= COST_END) return NOT_THERE;
    if (!is_stored && !rows_touch(lane, hour, at, added->calls)) return NO_MEMORY;
    line->calls += added->calls;
    line->cost += cost;
    account_t *row = (account_t *)row_at(hour, line->base.row);
    return cover(row, added, added->payment, added->payment_length) ? 1 : NO_MEMORY;
}

int calls_add(lane_t *of, const added_t *added, int is_stored) {
    rows_lane_t *lane = (rows_lane_t *)of;
    lane->key.length = 0;
    put_bytes(&lane->key, added->account, added->account_length);
    put_string(&lane->key, added->method, added->method_length);
    return add(lane, lane_hour(of, added->hour_ms), added->account_length, added, is_stored);
}

/* MessagePack of four things, the last of which may be missing. */
static void put_span(buffer_t *buffer, span_t span) {
    if (span.at) put_string(buffer, span.at, span.length);
    else put_nil(buffer);
}

static void put_account(buffer_t *buffer, const rpc_metered_t *call) {
    buffer->length = 0;
    put_array(buffer, 4);
    put_span(buffer, call->envelope.org_id);
    put_span(buffer, call->data.agent_id);
    put_span(buffer, call->data.consumer_id);
    put_span(buffer, call->data.currency);
}

static void put_payment(buffer_t *buffer, const rpc_metered_t *call) {
    buffer->length = 0;
    put_array(buffer, 4);
    put_span(buffer, call->data.chain);
    put_number(buffer, call->data.chain_id);
    put_span(buffer, call->data.agent_wallet);
    put_span(buffer, call->data.consumer_wallet);
}

int calls_amount(const rpc_metered_t *call, unsigned __int128 *amount) {
    if (__builtin_mul_overflow(call->data.price.units, (unsigned __int128)call->data.quantity, amount)) return 0;
    if (*amount >= AMOUNT_END) return 0;
    if (call->data.status || call->data.free_tier) *amount = 0; /* any status but the first is no success */
    return 1;
}

static verdict_t count(lane_t *of, hour_t *hour, const void *event, int64_t offset) {
    calls_lane_t *lane = (calls_lane_t *)of;
    buffer_t *key = &lane->rows.key;
    const rpc_metered_t *call = event;
    unsigned __int128 amount;
    if (!calls_amount(call, &amount)) return NOT_PLAIN;
    put_payment(&lane->payment, call);
    if (lane->payment.is_full) return OUT_OF_MEMORY;
    put_account(key, call);
    size_t account_length = key->length;
    put_span(key, call->data.method);
    added_t added = {
        .payment = lane->payment.bytes,
        .payment_length = lane->payment.length,
        .calls = 1,
        .cost_low = (uint64_t)amount,
        .cost_high = (uint64_t)(amount >> 64),
        .first_offset = offset,
        .last_offset = offset,
    };
    int done = add(&lane->rows, hour, account_length, &added, 0);
    return done == NO_MEMORY ? OUT_OF_MEMORY : done < 0 ? NOT_PLAIN : COUNTED;
}

static void close_hour(hour_t *hour) {
    for (int64_t i = 0; i < hour->rows.count; i++) free(((account_t *)row_at(hour, i))->payment);
}

static void free_calls(lane_t *lane) {
    buffer_free(&((calls_lane_t *)lane)->payment);
    rows_free(lane);
}

static void put(rows_lane_t *lane, hour_t *hour, int64_t number) {
    buffer_t *out = &lane->out;
    const account_t *row = (const account_t *)row_at(hour, number);
    const named_t *sorted = rows_sorted(lane, hour, &row->base);
    out->is_full |= !sorted;
    if (out->is_full) return;
    put_array(out, 4);
    put_number(out, row->base.first_offset);
    put_number(out, row->base.last_offset);
    put_bytes(out, row->payment, row->payment_length);
    put_array(out, (size_t)row->base.count);
    for (int64_t i = 0; i < row->base.count; i++) {
        const method_t *line = (const method_t *)sorted[i].line;
        put_array(out, 3);
        put_bytes(out, sorted[i].name.at, sorted[i].name.length);
        put_number(out, line->calls);
        put_money(out, line->cost);
    }
}

lane_t *calls_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, int64_t names_max) {
    static const uint8_t OTHER[] = {0xA0}; /* no name */
    static const meter_t METER = {
        .event = &rpc_metered,
        .owner = offsetof(rpc_metered_t, data.agent_id),
        .row_size = sizeof(account_t),
        .line_size = sizeof(method_t),
        .count = count,
        .close = close_hour,
        .free = free_calls,
    };
    rows_lane_t *lane = (rows_lane_t *)lane_new(&METER, sizeof(calls_lane_t), ids, partition, partitions, future_ms);
    if (!lane) return NULL;
    lane->names_max = names_max;
    lane->other = OTHER;
    lane->other_length = sizeof OTHER;
    lane->put = put;
    return &lane->lane;
}
