#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "keys.h"
#include "pack.h"
#include "text.h"

enum { ROOM_MIN = 16 };

#define NO_MEMORY (-2)
#define NOT_THERE (-1)
#define COST_END ((unsigned __int128)10000000000000000000ull * 10000000000000000000ull)

/* Calls of an account's method. */
typedef struct {
    unsigned __int128 cost;
    int64_t calls;
} line_t;

/* An account's calls. `lines` are numbers, in the order of the methods' names once they are sorted. */
typedef struct {
    int64_t first_offset, last_offset;
    uint8_t *payment; /* of the call at `last_offset` */
    size_t payment_length;
    int64_t *lines;
    int64_t count, room;
    int64_t named; /* lines of methods with a name */
    int is_sorted;
    int is_changed;
} row_t;

typedef struct {
    int64_t hour_ms;
    uint32_t expiry_h;
    keys_t accounts; /* MessagePack → number of a row */
    row_t *rows;
    int64_t row_room;
    keys_t methods; /* number of the row (8 bytes) and name → number of a line */
    line_t *lines;
    int64_t line_room;
} hour_t;

typedef struct {
    int64_t hour_ms, row;
} changed_t;

struct rows {
    int64_t names_max, others;
    hour_t *hours;
    int64_t hour_count, hour_room;
    changed_t *changed;
    int64_t changed_count, changed_room;
    buffer_t key, out;
};

static hour_t *hour_at(rows_t *rows, int64_t hour_ms) {
    for (int64_t i = 0; i < rows->hour_count; i++)
        if (rows->hours[i].hour_ms == hour_ms) return &rows->hours[i];
    return NULL;
}

/* The items, with room for one more than `count`; NULL without memory, then they stay as they are. */
static void *with_room(void *items, int64_t count, int64_t *room, size_t size) {
    if (count < *room) return items;
    int64_t wanted = *room ? 2 * *room : ROOM_MIN;
    void *grown = realloc(items, (size_t)wanted * size);
    if (grown) *room = wanted;
    return grown;
}

static void hour_free(hour_t *hour) {
    for (int64_t i = 0; i < hour->accounts.count; i++) {
        free(hour->rows[i].payment);
        free(hour->rows[i].lines);
    }
    keys_free(&hour->accounts);
    keys_free(&hour->methods);
    free(hour->rows);
    free(hour->lines);
}

rows_t *rows_new(int64_t names_max) {
    rows_t *rows = calloc(1, sizeof(rows_t));
    if (rows) rows->names_max = names_max;
    return rows;
}

void rows_free(rows_t *rows) {
    if (!rows) return;
    for (int64_t i = 0; i < rows->hour_count; i++) hour_free(&rows->hours[i]);
    free(rows->hours);
    free(rows->changed);
    buffer_free(&rows->key);
    buffer_free(&rows->out);
    free(rows);
}

int rows_open(rows_t *rows, int64_t hour_ms, uint32_t expiry_h) {
    if (hour_at(rows, hour_ms)) return 1;
    hour_t *hours = with_room(rows->hours, rows->hour_count, &rows->hour_room, sizeof *hours);
    if (!hours) return NO_MEMORY;
    rows->hours = hours;
    rows->hours[rows->hour_count++] = (hour_t){.hour_ms = hour_ms, .expiry_h = expiry_h};
    return 1;
}

uint32_t rows_expiry(const rows_t *rows, int64_t hour_ms) {
    const hour_t *hour = hour_at((rows_t *)rows, hour_ms);
    return hour ? hour->expiry_h : 0;
}

void rows_close(rows_t *rows, int64_t hour_ms) {
    hour_t *hour = hour_at(rows, hour_ms);
    if (!hour) return;
    hour_free(hour);
    *hour = rows->hours[--rows->hour_count];
    int64_t kept = 0;
    for (int64_t i = 0; i < rows->changed_count; i++)
        if (rows->changed[i].hour_ms != hour_ms) rows->changed[kept++] = rows->changed[i];
    rows->changed_count = kept;
}

/* The number of an account's row, made when it is not there; NO_MEMORY. */
static int64_t row_of(hour_t *hour, const uint8_t *account, size_t length) {
    row_t *rows = with_room(hour->rows, hour->accounts.count, &hour->row_room, sizeof *rows);
    if (!rows) return NO_MEMORY;
    hour->rows = rows;
    int64_t known = hour->accounts.count, number = keys_number(&hour->accounts, account, length);
    if (number == known) hour->rows[number] = (row_t){.first_offset = -1, .last_offset = -1};
    return number;
}

static int compare(const named_t *left, const named_t *right) {
    size_t shorter = left->length < right->length ? left->length : right->length;
    int order = memcmp(left->bytes, right->bytes, shorter);
    return order ? order : (left->length > right->length) - (left->length < right->length);
}

/* Down in a heap of `count` lines, whose highest name is on top. */
static void sink(const named_t *names, int64_t *lines, int64_t at, int64_t count) {
    int64_t line = lines[at];
    for (int64_t below; (below = 2 * at + 1) < count; at = below) {
        if (below + 1 < count && compare(&names[lines[below]], &names[lines[below + 1]]) < 0) below++;
        if (compare(&names[line], &names[lines[below]]) >= 0) break;
        lines[at] = lines[below];
    }
    lines[at] = line;
}

/* Heap sort: whatever names are chosen, n log n, and in place. */
static void sort(const hour_t *hour, row_t *row) {
    if (row->is_sorted) return;
    const named_t *names = hour->methods.names;
    for (int64_t at = row->count / 2; at-- > 0;) sink(names, row->lines, at, row->count);
    for (int64_t left = row->count - 1; left > 0; left--) {
        int64_t highest = row->lines[0];
        row->lines[0] = row->lines[left];
        row->lines[left] = highest;
        sink(names, row->lines, 0, left);
    }
    row->is_sorted = 1;
}

/* A line's key: the number of its row, and its method; 0 without memory. */
static int make_key(buffer_t *key, int64_t row_number, const uint8_t *method, size_t length) {
    key->length = 0;
    put_bytes(key, &row_number, sizeof row_number);
    put_bytes(key, method, length);
    return !key->is_full;
}

/* The number of the line that calls of a row's method count in; NO_MEMORY. */
static int64_t line_of(hour_t *hour, int64_t row_number, buffer_t *key, const added_t *added, int64_t names_max) {
    row_t *row = &hour->rows[row_number];
    if (!make_key(key, row_number, added->method, added->method_length)) return NO_MEMORY;
    int64_t found = keys_find(&hour->methods, key->bytes, key->length);
    if (found >= 0) return found;
    int is_named = added->method_length && row->named < names_max;
    if (!is_named) {
        if (!make_key(key, row_number, NULL, 0)) return NO_MEMORY;
        found = keys_find(&hour->methods, key->bytes, key->length);
        if (found >= 0) return found;
    }
    line_t *lines = with_room(hour->lines, hour->methods.count, &hour->line_room, sizeof *lines);
    if (lines) hour->lines = lines;
    int64_t *numbers = with_room(row->lines, row->count, &row->room, sizeof *numbers);
    if (numbers) row->lines = numbers;
    if (!lines || !numbers) return NO_MEMORY;
    int64_t number = keys_number(&hour->methods, key->bytes, key->length);
    if (number < 0) return NO_MEMORY;
    hour->lines[number] = (line_t){0};
    row->lines[row->count++] = number;
    row->named += is_named;
    row->is_sorted = 0;
    return number;
}

/* A row changes; 0 without memory. */
static int touch(rows_t *rows, int64_t hour_ms, row_t *row, int64_t number) {
    if (row->is_changed) return 1;
    changed_t *changed = with_room(rows->changed, rows->changed_count, &rows->changed_room, sizeof *changed);
    if (!changed) return 0;
    rows->changed = changed;
    rows->changed[rows->changed_count++] = (changed_t){hour_ms, number};
    row->is_changed = 1;
    return 1;
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
static int cover(row_t *row, int64_t first_offset, int64_t last_offset, const uint8_t *payment, size_t length) {
    int is_first = row->first_offset < 0 || (first_offset >= 0 && first_offset < row->first_offset);
    if (is_first) row->first_offset = first_offset;
    if (row->payment_length && last_offset <= row->last_offset) return 1;
    row->last_offset = last_offset;
    return pay(row, payment, length);
}

int rows_add(rows_t *rows, const added_t *added, int is_stored) {
    hour_t *hour = hour_at(rows, added->hour_ms);
    unsigned __int128 cost = (unsigned __int128)added->cost_high << 64 | added->cost_low;
    /* Before a row or a line is made: a new one holds any cost below the end. */
    if (!hour || cost >= COST_END) return NOT_THERE;
    int64_t number = row_of(hour, added->account, added->account_length);
    if (number < 0) return NO_MEMORY;
    row_t *row = &hour->rows[number];
    int64_t line = line_of(hour, number, &rows->key, added, is_stored ? INT64_MAX : rows->names_max);
    if (line < 0) return NO_MEMORY;
    if (hour->lines[line].cost + cost >= COST_END) return NOT_THERE;
    if (!is_stored && !touch(rows, hour->hour_ms, row, number)) return NO_MEMORY;
    if (!is_stored && hour->methods.names[line].length == sizeof number) rows->others += added->calls;
    hour->lines[line].calls += added->calls;
    hour->lines[line].cost += cost;
    return cover(row, added->first_offset, added->last_offset, added->payment, added->payment_length) ? 1 : NO_MEMORY;
}

int64_t rows_others(rows_t *rows) {
    int64_t others = rows->others;
    rows->others = 0;
    return others;
}

int64_t rows_count(const rows_t *rows) {
    int64_t count = 0;
    for (int64_t i = 0; i < rows->hour_count; i++) count += rows->hours[i].accounts.count;
    return count;
}

static void put_low_first(uint8_t *at, size_t number) {
    for (int i = 0; i < 4; i++, number >>= 8) at[i] = (uint8_t)number;
}

static void put_row(buffer_t *out, const hour_t *hour, int64_t number) {
    row_t *row = &hour->rows[number];
    sort(hour, row);
    const named_t *account = &hour->accounts.names[number];
    uint8_t head[8 + 9] = {[8] = 'h'};
    for (int i = 0; i < 8; i++) head[9 + i] = (uint8_t)((uint64_t)hour->hour_ms >> (56 - 8 * i));
    size_t start = put_bytes(out, head, sizeof head);
    put_bytes(out, account->bytes, account->length);
    size_t middle = out->length;
    put_array(out, 4);
    put_number(out, row->first_offset);
    put_number(out, row->last_offset);
    put_bytes(out, row->payment, row->payment_length);
    put_array(out, (size_t)row->count);
    for (int64_t i = 0; i < row->count; i++) {
        const named_t *method = &hour->methods.names[row->lines[i]];
        const line_t *line = &hour->lines[row->lines[i]];
        put_array(out, 3);
        put_string(out, method->bytes + sizeof number, method->length - sizeof number);
        put_number(out, line->calls);
        put_money(out, line->cost);
    }
    if (out->is_full) return;
    put_low_first(out->bytes + start, middle - start - 8);
    put_low_first(out->bytes + start + 4, out->length - middle);
}

int64_t rows_changed(rows_t *rows, const uint8_t **packed) {
    rows->out.length = 0;
    for (int64_t i = 0; i < rows->changed_count; i++) {
        hour_t *hour = hour_at(rows, rows->changed[i].hour_ms);
        put_row(&rows->out, hour, rows->changed[i].row);
        hour->rows[rows->changed[i].row].is_changed = 0;
    }
    rows->changed_count = 0;
    *packed = rows->out.bytes;
    return rows->out.is_full ? NO_MEMORY : (int64_t)rows->out.length;
}

int64_t rows_of(rows_t *rows, int64_t hour_ms, const uint8_t **packed) {
    const hour_t *hour = hour_at(rows, hour_ms);
    rows->out.length = 0;
    for (int64_t i = 0; hour && i < hour->accounts.count; i++) put_row(&rows->out, hour, i);
    *packed = rows->out.bytes;
    return rows->out.is_full ? NO_MEMORY : (int64_t)rows->out.length;
}
