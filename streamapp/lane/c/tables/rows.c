#include "tables/rows.h"

enum { HEAD_BYTES = 8 };

static int64_t row_of(hour_t *hour, const uint8_t *account, size_t length) {
    int64_t known = hour->rows.count, number = map_number(&hour->rows, account, length);
    if (number == known) row_at(hour, number)->first_offset = row_at(hour, number)->last_offset = -1;
    return number;
}

static int is_other(const rows_lane_t *lane, span_t name) {
    return name.length == lane->other_length && !memcmp(name.at, lane->other, name.length);
}

static int has_room(const rows_lane_t *lane, const row_t *row) {
    return row->named < lane->names_max && !(lane->keeps_other && row->named < row->count);
}

int64_t rows_line(rows_lane_t *lane, hour_t *hour, size_t account_length, int is_stored) {
    buffer_t *key = &lane->key;
    if (key->is_full) return NO_MEMORY;
    int64_t found = map_find(&hour->lines, key->bytes, key->length);
    if (found >= 0) return found;
    int64_t number = row_of(hour, key->bytes, account_length);
    if (number < 0) return NO_MEMORY;
    row_t *row = row_at(hour, number);
    int is_named = !is_other(lane, (span_t){key->bytes + account_length, key->length - account_length});
    if (is_named && !is_stored && !has_room(lane, row)) {
        is_named = 0;
        key->length = account_length;
        put_bytes(key, lane->other, lane->other_length);
        if (key->is_full) return NO_MEMORY;
    }
    int64_t known = hour->lines.count, at = map_number(&hour->lines, key->bytes, key->length);
    if (at != known) return at;
    line_at(hour, at)->row = number;
    if (row->last) line_at(hour, row->last - 1)->next = at + 1;
    else row->first = at + 1;
    row->last = at + 1;
    row->count++;
    row->named += is_named;
    return at;
}

span_t rows_name(const hour_t *hour, const line_t *line) {
    size_t account_length = row_at(hour, line->row)->key.length;
    return (span_t){hour->lines.bytes.bytes + line->key.at + account_length, line->key.length - account_length};
}

int rows_touch(rows_lane_t *lane, hour_t *hour, int64_t at, int64_t count) {
    const line_t *line = line_at(hour, at);
    row_t *row = row_at(hour, line->row);
    if (!row->is_changed && !lane_touch(&lane->lane, hour->hour_ms, line->row)) return 0;
    row->is_changed = 1;
    if (is_other(lane, rows_name(hour, line))) lane->others += count;
    return 1;
}

span_t take_name(span_t *name) {
    const uint8_t *at = name->at;
    size_t head = 1, length = *at & 31;
    if (*at >= 0xD9)
        for (head = 1 + ((size_t)1 << (*at - 0xD9)), length = 0; ++at < name->at + head;) length = length << 8 | *at;
    span_t text = {name->at + head, length};
    name->length -= head + length;
    name->at += head + length;
    return text;
}

static int by_name(const void *one, const void *two) {
    span_t left = ((const named_t *)one)->name, right = ((const named_t *)two)->name;
    for (;;) {
        if (!left.length) return 0;
        span_t low = take_name(&left), high = take_name(&right);
        int order = memcmp(low.at, high.at, low.length < high.length ? low.length : high.length);
        if (!order) order = (low.length > high.length) - (low.length < high.length);
        if (order) return order;
    }
}

const named_t *rows_sorted(rows_lane_t *lane, const hour_t *hour, const row_t *row) {
    if (row->count > lane->sorted_room) {
        named_t *grown = realloc(lane->sorted, 2 * (size_t)row->count * sizeof *grown);
        if (!grown) return NULL;
        lane->sorted = grown;
        lane->sorted_room = 2 * row->count;
    }
    int64_t count = 0;
    for (const line_t *line = line_behind(hour, row->first); line; line = line_behind(hour, line->next))
        lane->sorted[count++] = (named_t){rows_name(hour, line), line};
    if (count > 1) qsort(lane->sorted, (size_t)count, sizeof *lane->sorted, by_name);
    return lane->sorted;
}

void rows_free(lane_t *of) {
    rows_lane_t *lane = (rows_lane_t *)of;
    buffer_free(&lane->key);
    buffer_free(&lane->out);
    free(lane->sorted);
}

int64_t rows_count(const lane_t *lane) {
    int64_t count = 0;
    for (int64_t i = 0; i < lane->hour_count; i++) count += lane->hours[i].rows.count;
    return count;
}

static int64_t taken(int64_t *count) {
    int64_t since = *count;
    *count = 0;
    return since;
}

int64_t rows_others(lane_t *lane) { return taken(&((rows_lane_t *)lane)->others); }
int64_t rows_rounded(lane_t *lane) { return taken(&((rows_lane_t *)lane)->rounded); }

int rows_known(const lane_t *lane, int64_t hour_ms, const uint8_t *account, size_t length) {
    const hour_t *hour = lane_hour(lane, hour_ms);
    return hour && map_find(&hour->rows, account, length) >= 0;
}

static void put_low_first(uint8_t *at, size_t number) {
    for (int i = 0; i < 4; i++, number >>= 8) at[i] = (uint8_t)number;
}

void rows_put_key(rows_lane_t *lane, const hour_t *hour, int64_t row) {
    uint8_t head[9] = {'h'};
    span_t account = map_key(&hour->rows, row);
    for (int i = 0; i < 8; i++) head[1 + i] = (uint8_t)((uint64_t)hour->hour_ms >> (56 - 8 * i));
    put_bytes(&lane->out, head, sizeof head);
    put_bytes(&lane->out, account.at, account.length);
}

static void put_row(rows_lane_t *lane, hour_t *hour, int64_t row) {
    static const uint8_t LENGTHS[HEAD_BYTES];
    buffer_t *out = &lane->out;
    size_t start = put_bytes(out, LENGTHS, sizeof LENGTHS);
    rows_put_key(lane, hour, row);
    size_t middle = out->length;
    lane->put(lane, hour, row);
    if (out->is_full) return;
    put_low_first(out->bytes + start, middle - start - sizeof LENGTHS);
    put_low_first(out->bytes + start + 4, out->length - middle);
}

static int64_t packed_rows(const rows_lane_t *lane, const uint8_t **packed) {
    *packed = lane->out.bytes;
    return lane->out.is_full ? NO_MEMORY : (int64_t)lane->out.length;
}

int64_t rows_changed(lane_t *of, const uint8_t **packed) {
    rows_lane_t *lane = (rows_lane_t *)of;
    lane->out.length = 0;
    for (int64_t i = 0; i < of->touched_count; i++) {
        hour_t *hour = lane_hour(of, of->touched[i].hour_ms);
        put_row(lane, hour, of->touched[i].number);
        row_at(hour, of->touched[i].number)->is_changed = 0;
    }
    of->touched_count = 0;
    return packed_rows(lane, packed);
}

int64_t rows_of(lane_t *of, int64_t hour_ms, const uint8_t **packed) {
    rows_lane_t *lane = (rows_lane_t *)of;
    hour_t *hour = lane_hour(of, hour_ms);
    lane->out.length = 0;
    for (int64_t i = 0; hour && i < hour->rows.count; i++) put_row(lane, hour, i);
    return packed_rows(lane, packed);
}
