#include "calls.h"

#define AMOUNT_END ((unsigned __int128)1000000000000000000ull * 1000000000000ull)
#define COST_END ((unsigned __int128)10000000000000000000ull * 10000000000000000000ull)

/* Calls of an account's method; the key is the number of the row (8 bytes) and the name. */
typedef struct {
    map_key_t key;
    int64_t calls;
    unsigned __int128 cost;
    int64_t next; /* another one of the row; 0: none */
} line_t;

/* An account's calls; the key is the account. `first` leads to its lines, in the order of the methods' names once they are
 * sorted. Numbers of lines are one more here. */
typedef struct {
    map_key_t key;
    int64_t first_offset, last_offset;
    uint8_t *payment; /* of the call at `last_offset` */
    size_t payment_length;
    int64_t first, count;
    int64_t named; /* lines of methods with a name */
    int is_sorted;
    int is_changed;
} row_t;

typedef struct {
    span_t method;
    int64_t line;
} sorted_t;

typedef struct {
    lane_t lane;
    int64_t names_max, others;
    buffer_t account, payment, key, out;
    sorted_t *sorted;
    int64_t sorted_room;
} calls_lane_t;

/* The number of an account's row, made when it is not there; NO_MEMORY. */
static int64_t row_of(hour_t *hour, const uint8_t *account, size_t length) {
    int64_t known = hour->rows.count, number = map_number(&hour->rows, account, length);
    if (number == known) {
        row_t *row = map_item(&hour->rows, number);
        row->first_offset = row->last_offset = -1;
    }
    return number;
}

/* A line's key: the number of its row, and its method. */
static void make_key(buffer_t *key, int64_t row_number, const uint8_t *method, size_t length) {
    key->length = 0;
    put_bytes(key, &row_number, sizeof row_number);
    put_bytes(key, method, length);
}

/* The number of the line that calls of a row's method count in; NO_MEMORY. */
static int64_t line_of(hour_t *hour, int64_t row_number, buffer_t *key, const added_t *added, int64_t names_max) {
    row_t *row = map_item(&hour->rows, row_number);
    make_key(key, row_number, added->method, added->method_length);
    if (key->is_full) return NO_MEMORY;
    int64_t found = map_find(&hour->lines, key->bytes, key->length);
    if (found >= 0) return found;
    int is_named = added->method_length && row->named < names_max;
    if (!is_named) make_key(key, row_number, NULL, 0);
    int64_t known = hour->lines.count, number = map_number(&hour->lines, key->bytes, key->length);
    if (number != known) return number;
    ((line_t *)map_item(&hour->lines, number))->next = row->first;
    row->first = number + 1;
    row->count++;
    row->named += is_named;
    row->is_sorted = 0;
    return number;
}

static int pay(row_t *row, const uint8_t *payment, size_t length) {
    if (row->payment_length == length && same(row->payment, payment, length)) return 1;
    uint8_t *own = realloc(row->payment, length);
    if (!own) return 0;
    memcpy(own, payment, length);
    row->payment = own;
    row->payment_length = length;
    return 1;
}

/* As `Calls.cover` in Python: offsets below -1 are of calls on the partition before, and any other is newer. */
static int cover(row_t *row, const added_t *added) {
    int64_t first = added->first_offset;
    if (row->first_offset < 0 || (first >= 0 && first < row->first_offset)) row->first_offset = first;
    if (row->payment_length && added->last_offset <= row->last_offset) return 1;
    row->last_offset = added->last_offset;
    return pay(row, added->payment, added->payment_length);
}

static int add(calls_lane_t *lane, hour_t *hour, const added_t *added, int is_stored) {
    unsigned __int128 cost = (unsigned __int128)added->cost_high << 64 | added->cost_low;
    /* Before a row or a line is made: a new one holds any cost below the end. */
    if (!hour || cost >= COST_END) return NOT_THERE;
    int64_t number = row_of(hour, added->account, added->account_length);
    if (number < 0) return NO_MEMORY;
    row_t *row = map_item(&hour->rows, number);
    int64_t at = line_of(hour, number, &lane->key, added, is_stored ? INT64_MAX : lane->names_max);
    if (at < 0) return NO_MEMORY;
    line_t *line = map_item(&hour->lines, at);
    if (line->cost + cost >= COST_END) return NOT_THERE;
    if (!is_stored) {
        if (!row->is_changed && !lane_touch(&lane->lane, hour->hour_ms, number)) return NO_MEMORY;
        row->is_changed = 1;
        if (line->key.length == sizeof number) lane->others += added->calls;
    }
    line->calls += added->calls;
    line->cost += cost;
    return cover(row, added) ? 1 : NO_MEMORY;
}

int calls_add(lane_t *lane, const added_t *added, int is_stored) {
    return add((calls_lane_t *)lane, lane_hour(lane, added->hour_ms), added, is_stored);
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
    const rpc_metered_t *call = event;
    unsigned __int128 amount;
    if (!calls_amount(call, &amount)) return NOT_PLAIN;
    put_account(&lane->account, call);
    put_payment(&lane->payment, call);
    if (lane->account.is_full || lane->payment.is_full) return OUT_OF_MEMORY;
    added_t added = {
        .hour_ms = hour->hour_ms,
        .account = lane->account.bytes,
        .account_length = lane->account.length,
        .method = call->data.method.at,
        .method_length = call->data.method.length,
        .payment = lane->payment.bytes,
        .payment_length = lane->payment.length,
        .calls = 1,
        .cost_low = (uint64_t)amount,
        .cost_high = (uint64_t)(amount >> 64),
        .first_offset = offset,
        .last_offset = offset,
    };
    int done = add(lane, hour, &added, 0);
    return done == NO_MEMORY ? OUT_OF_MEMORY : done < 0 ? NOT_PLAIN : COUNTED;
}

static void close_hour(hour_t *hour) {
    for (int64_t i = 0; i < hour->rows.count; i++) free(((row_t *)map_item(&hour->rows, i))->payment);
}

static void free_calls(lane_t *of) {
    calls_lane_t *lane = (calls_lane_t *)of;
    buffer_free(&lane->account);
    buffer_free(&lane->payment);
    buffer_free(&lane->key);
    buffer_free(&lane->out);
    free(lane->sorted);
}

lane_t *calls_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, int64_t names_max) {
    static const meter_t METER = {
        .event = &rpc_metered,
        .owner = offsetof(rpc_metered_t, data.agent_id),
        .row_size = sizeof(row_t),
        .line_size = sizeof(line_t),
        .count = count,
        .close = close_hour,
        .free = free_calls,
    };
    lane_t *lane = lane_new(&METER, sizeof(calls_lane_t), ids, partition, partitions, future_ms);
    if (lane) ((calls_lane_t *)lane)->names_max = names_max;
    return lane;
}

int64_t calls_others(lane_t *of) {
    calls_lane_t *lane = (calls_lane_t *)of;
    int64_t others = lane->others;
    lane->others = 0;
    return others;
}

int64_t calls_rows(const lane_t *lane) {
    int64_t count = 0;
    for (int64_t i = 0; i < lane->hour_count; i++) count += lane->hours[i].rows.count;
    return count;
}

static int by_method(const void *one, const void *two) {
    span_t left = ((const sorted_t *)one)->method, right = ((const sorted_t *)two)->method;
    int order = memcmp(left.at, right.at, left.length < right.length ? left.length : right.length);
    return order ? order : (left.length > right.length) - (left.length < right.length);
}

static line_t *line_at(const hour_t *hour, int64_t number) { return map_item(&hour->lines, number - 1); }

/* The lines of a row in the order of their methods. Returns 0 without memory. */
static int sort(calls_lane_t *lane, hour_t *hour, row_t *row) {
    if (row->is_sorted) return 1;
    if (row->count > lane->sorted_room) {
        sorted_t *grown = realloc(lane->sorted, 2 * (size_t)row->count * sizeof *grown);
        if (!grown) return 0;
        lane->sorted = grown;
        lane->sorted_room = 2 * row->count;
    }
    int64_t count = 0;
    for (int64_t at = row->first; at; at = line_at(hour, at)->next)
        lane->sorted[count++] = (sorted_t){map_key(&hour->lines, at - 1), at};
    for (int64_t i = 0; i < count; i++) {
        lane->sorted[i].method.at += sizeof(int64_t);
        lane->sorted[i].method.length -= sizeof(int64_t);
    }
    qsort(lane->sorted, (size_t)count, sizeof *lane->sorted, by_method);
    for (row->first = 0; count; row->first = lane->sorted[count].line)
        line_at(hour, lane->sorted[--count].line)->next = row->first;
    row->is_sorted = 1;
    return 1;
}

static void put_low_first(uint8_t *at, size_t number) {
    for (int i = 0; i < 4; i++, number >>= 8) at[i] = (uint8_t)number;
}

static void put_row(calls_lane_t *lane, hour_t *hour, int64_t number) {
    buffer_t *out = &lane->out;
    row_t *row = map_item(&hour->rows, number);
    span_t account = map_key(&hour->rows, number);
    uint8_t head[8 + 9] = {[8] = 'h'};
    for (int i = 0; i < 8; i++) head[9 + i] = (uint8_t)((uint64_t)hour->hour_ms >> (56 - 8 * i));
    out->is_full |= !sort(lane, hour, row);
    size_t start = put_bytes(out, head, sizeof head);
    put_bytes(out, account.at, account.length);
    size_t middle = out->length;
    put_array(out, 4);
    put_number(out, row->first_offset);
    put_number(out, row->last_offset);
    put_bytes(out, row->payment, row->payment_length);
    put_array(out, (size_t)row->count);
    for (int64_t at = row->first; at; at = line_at(hour, at)->next) {
        span_t method = map_key(&hour->lines, at - 1);
        put_array(out, 3);
        put_string(out, method.at + sizeof number, method.length - sizeof number);
        put_number(out, line_at(hour, at)->calls);
        put_money(out, line_at(hour, at)->cost);
    }
    if (out->is_full) return;
    put_low_first(out->bytes + start, middle - start - 8);
    put_low_first(out->bytes + start + 4, out->length - middle);
}

static int64_t packed_rows(const calls_lane_t *lane, const uint8_t **packed) {
    *packed = lane->out.bytes;
    return lane->out.is_full ? NO_MEMORY : (int64_t)lane->out.length;
}

int64_t calls_changed(lane_t *of, const uint8_t **packed) {
    calls_lane_t *lane = (calls_lane_t *)of;
    lane->out.length = 0;
    for (int64_t i = 0; i < of->touched_count; i++) {
        hour_t *hour = lane_hour(of, of->touched[i].hour_ms);
        put_row(lane, hour, of->touched[i].number);
        ((row_t *)map_item(&hour->rows, of->touched[i].number))->is_changed = 0;
    }
    of->touched_count = 0;
    return packed_rows(lane, packed);
}

int64_t calls_of(lane_t *of, int64_t hour_ms, const uint8_t **packed) {
    calls_lane_t *lane = (calls_lane_t *)of;
    hour_t *hour = lane_hour(of, hour_ms);
    lane->out.length = 0;
    for (int64_t i = 0; hour && i < hour->rows.count; i++) put_row(lane, hour, i);
    return packed_rows(lane, packed);
}
