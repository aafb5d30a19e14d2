/* Rows of open hours: they are here and nowhere else until their hour closes. Who counts in them is the fast path and, for
 * records that are not plain, Python. They leave as they are stored. A meter's rows and lines begin with the ones below. */
#ifndef ROWS_H
#define ROWS_H

#include "tables/lane.h"

/* The key is MessagePack, of whose row it is. `first` and `last` lead to its lines, in the order in which they were made.
 * Numbers of lines are one more here; 0: none. */
typedef struct {
    map_key_t key;
    int64_t first_offset, last_offset;
    int64_t first, last, count;
    int64_t named; /* lines with a name of their own */
    int is_changed;
} row_t;

/* The key is the row's and, behind it, MessagePack of the line's name. */
typedef struct {
    map_key_t key;
    int64_t row, next;
} line_t;

/* A line and its name. */
typedef struct {
    span_t name;
    const line_t *line;
} named_t;

typedef struct rows_lane rows_lane_t;
struct rows_lane {
    lane_t lane;
    int64_t names_max;       /* a row has so many lines of their own name; all others count in one */
    const uint8_t *other;    /* the name of that one */
    size_t other_length;
    int keeps_other;         /* a row with that one gets no further name, whatever the limit */
    void (*put)(rows_lane_t *lane, hour_t *hour, int64_t row); /* the row's value, behind what is in `out` */
    int64_t others, rounded; /* counted since they were asked for */
    buffer_t key, out;       /* `key`: of the line that is counted in */
    named_t *sorted;
    int64_t sorted_room;
};

/* For meters, with the account, and behind it the name, in `key`. The number of its line, made when it is not there;
 * `is_stored`: whatever the limit. NO_MEMORY. */
int64_t rows_line(rows_lane_t *lane, hour_t *hour, size_t account_length, int is_stored);

/* Something is counted in a line: offsets are not looked at. Returns 0 without memory. */
int rows_touch(rows_lane_t *lane, hour_t *hour, int64_t line, int64_t count);

/* The name of a line, as MessagePack. */
span_t rows_name(const hour_t *hour, const line_t *line);

/* A row's lines, as many as it counts, in the order of their names; NULL without memory. */
const named_t *rows_sorted(rows_lane_t *lane, const hour_t *hour, const row_t *row);

/* Take a MessagePack text from the front of a name. */
span_t take_name(span_t *name);

void rows_free(lane_t *lane);

/* The key of a row, as it is stored, behind what is in `out`. */
void rows_put_key(rows_lane_t *lane, const hour_t *hour, int64_t row);

static inline row_t *row_at(const hour_t *hour, int64_t number) { return map_item(&hour->rows, number); }
static inline line_t *line_at(const hour_t *hour, int64_t number) { return map_item(&hour->lines, number); }

/* The line that `first` or `next` leads to; NULL behind the last. */
static inline line_t *line_behind(const hour_t *hour, int64_t next) { return next ? line_at(hour, next - 1) : NULL; }

/* How many rows there are; how many records counted as the others, and had a rounded cost, since the last call. */
int64_t rows_count(const lane_t *lane);
int64_t rows_others(lane_t *lane);
int64_t rows_rounded(lane_t *lane);

/* Whether there is a row of this account in an open hour. */
int rows_known(const lane_t *lane, int64_t hour_ms, const uint8_t *account, size_t length);

/* Rows, back to back: the lengths of key and value (four bytes each, the low one first), key, value. Those that have
 * changed since the last call, or those of one hour. Returns how many bytes, which stay until the next call; NO_MEMORY. */
int64_t rows_changed(lane_t *lane, const uint8_t **packed);
int64_t rows_of(lane_t *lane, int64_t hour_ms, const uint8_t **packed);

#endif
