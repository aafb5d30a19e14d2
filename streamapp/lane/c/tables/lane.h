/* The fast path of one partition: it counts plain records, and stops at the first that is not.
 *
 * A record is plain when counting it changes nothing but the counts of an hour that is open, the watermark, and the
 * remembered ids: a plain event with an org, of a key that is at home here, not ahead of its record, below the next mark,
 * and what the meter says beside. A repetition with the same bytes is plain, too. Nothing is done for a record that is not
 * plain: Python (tables/) does all of it. */
#ifndef LANE_H
#define LANE_H

#include "read/batch.h"
#include "read/event.h"
#include "ids/ids.h"
#include "base/map.h"

/* What the table knows, and what a run changes of it. */
typedef struct {
    int64_t watermark_ms, next_mark_ms; /* in; the watermark also out */
    int64_t duplicates;                 /* out */
} run_t;

/* `is_new`: no row of the hour can be stored. What rows and lines are is the meter's. */
typedef struct {
    int64_t hour_ms;
    uint32_t expiry_h;
    int is_new;
    map_t rows, lines;
} hour_t;

typedef struct {
    int64_t hour_ms, number;
} touched_t;

typedef struct lane lane_t;
typedef enum { COUNTED, REPEATED, NOT_PLAIN, OUT_OF_MEMORY } verdict_t;

/* What is counted of which event. */
typedef struct {
    const table_t *event;
    size_t owner;               /* where in the event the text is that the record key must be */
    size_t row_size, line_size; /* of the items in an hour's maps */
    verdict_t (*count)(lane_t *lane, hour_t *hour, const void *event, int64_t offset);
    void (*close)(hour_t *hour); /* free what its rows hold beside; may be NULL */
    void (*free)(lane_t *lane);  /* and what the lane does; may be NULL */
} meter_t;

/* The lane of a meter begins with this. */
struct lane {
    const meter_t *meter;
    ids_t *ids;
    int32_t partition, partitions;
    int64_t future_ms;
    hour_t *hours;
    int64_t hour_count, hour_room;
    touched_t *touched; /* what has counted something since it was taken, in the order of the first records */
    int64_t touched_count, touched_room;
};

/* For meters: a lane of so many bytes, zero behind `lane_t`; NULL without memory. `lane` when that was made, too. */
lane_t *lane_new(const meter_t *meter, size_t size, ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms);
hour_t *lane_hour(const lane_t *lane, int64_t hour_ms);

/* Remember what is touched. Returns 0 without memory. */
int lane_touch(lane_t *lane, int64_t hour_ms, int64_t number);

/* The texts, joined by zero bytes; returns where they end. */
uint8_t *join(uint8_t *to, const span_t *texts, size_t count);

void lane_free(lane_t *lane);

/* An hour is open from now on, and its ids expire at `expiry_h`. Returns 1, or NO_MEMORY. */
int lane_open(lane_t *lane, int64_t hour_ms, uint32_t expiry_h, int is_new);

/* It is open no longer. What it counted and was not taken goes with it. */
void lane_close(lane_t *lane, int64_t hour_ms);

/* Count the records of a payload from `from` to before `until`. Returns the first that is not plain, or `until`;
 * NO_MEMORY. */
int64_t lane_run(lane_t *lane, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until, run_t *run);

#endif
