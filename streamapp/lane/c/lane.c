#include "lane.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "home.h"
#include "keys.h"
#include "usage.h"

enum {
    HOUR_MS = 3600000,
    HOURS_MAX = 64, /* open at a time: two or three, unless the grace is days; further ones are left to the ledger */
    KEY_MAX = 5 * 256 + 4, /* five names of at most 256 letters, and what joins them */
    PLACES_MIN = 256,
};

#define OTHER "\0other" /* no provider, and this model */
#define OTHER_LENGTH (sizeof OTHER - 1)
#define NO_MEMORY (-2)
#define NOT_THERE (-1)

typedef struct {
    uint8_t *key;
    size_t length;
    uint64_t hash;
    unsigned __int128 cost;
    int64_t requests, errors, cache_hits, prompt_tokens, completion_tokens, other_tokens, rounded;
    int64_t first_offset, last_offset;
} line_t;

/* How many lines of its own a row has; `is_closed`: it has one of the others, and gets no more. */
typedef struct {
    int64_t count;
    int is_closed;
} row_t;

typedef struct {
    int64_t hour_ms;
    uint32_t expiry_h;
    int is_new;
    keys_t row_keys; /* org, team and currency → number of a row */
    row_t *rows;
    int64_t row_room;
    line_t *lines;
    int64_t count, room;
    uint32_t *places; /* line number + 1; 0: free */
    size_t place_count;
} hour_t;

typedef struct {
    int64_t hour_ms, line;
} touched_t;

/* What the library was made from: the loader compares it with what is there. */
const char *sources(void);
const char *sources(void) { return SOURCES; }

struct lane {
    ids_t *ids;
    int32_t partition, partitions;
    int64_t future_ms, names_max;
    hour_t hours[HOURS_MAX];
    int hour_count;
    touched_t *touched;
    int64_t touched_count, touched_room;
};

static hour_t *hour_at(lane_t *lane, int64_t hour_ms) {
    for (int i = 0; i < lane->hour_count; i++)
        if (lane->hours[i].hour_ms == hour_ms) return &lane->hours[i];
    return NULL;
}

static void hour_free(hour_t *hour) {
    for (int64_t i = 0; i < hour->count; i++) free(hour->lines[i].key);
    keys_free(&hour->row_keys);
    free(hour->rows);
    free(hour->lines);
    free(hour->places);
}

lane_t *lane_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, int64_t names_max) {
    lane_t *lane = calloc(1, sizeof *lane);
    if (!lane) return NULL;
    lane->ids = ids;
    lane->partition = partition;
    lane->partitions = partitions;
    lane->future_ms = future_ms;
    lane->names_max = names_max;
    return lane;
}

void lane_free(lane_t *lane) {
    if (!lane) return;
    for (int i = 0; i < lane->hour_count; i++) hour_free(&lane->hours[i]);
    free(lane->touched);
    free(lane);
}

int lane_open(lane_t *lane, int64_t hour_ms, uint32_t expiry_h, int is_new) {
    if (hour_at(lane, hour_ms)) return 1;
    if (lane->hour_count == HOURS_MAX) return NOT_THERE;
    hour_t hour = {.hour_ms = hour_ms, .expiry_h = expiry_h, .is_new = is_new, .place_count = PLACES_MIN};
    hour.places = calloc(PLACES_MIN, sizeof *hour.places);
    if (!hour.places) return NO_MEMORY;
    lane->hours[lane->hour_count++] = hour;
    return 1;
}

void lane_close(lane_t *lane, int64_t hour_ms) {
    hour_t *hour = hour_at(lane, hour_ms);
    if (!hour) return;
    hour_free(hour);
    *hour = lane->hours[--lane->hour_count];
    int64_t kept = 0;
    for (int64_t i = 0; i < lane->touched_count; i++)
        if (lane->touched[i].hour_ms != hour_ms) lane->touched[kept++] = lane->touched[i];
    lane->touched_count = kept;
}

static size_t place_of(const hour_t *hour, const uint8_t *key, size_t length, uint64_t hash) {
    size_t mask = hour->place_count - 1, at = hash & mask;
    for (; hour->places[at]; at = (at + 1) & mask) {
        const line_t *line = &hour->lines[hour->places[at] - 1];
        if (line->hash == hash && line->length == length && !memcmp(line->key, key, length)) break;
    }
    return at;
}

static int more_places(hour_t *hour) {
    size_t count = 2 * hour->place_count;
    uint32_t *places = calloc(count, sizeof *places);
    if (!places) return 0;
    for (int64_t i = 0; i < hour->count; i++) {
        size_t at = hour->lines[i].hash & (count - 1);
        while (places[at]) at = (at + 1) & (count - 1);
        places[at] = (uint32_t)i + 1;
    }
    free(hour->places);
    hour->places = places;
    hour->place_count = count;
    return 1;
}

/* The row of a key, made when it is not there; NULL without memory. */
static row_t *row_of(hour_t *hour, const uint8_t *key, size_t row_length) {
    if (hour->row_keys.count == hour->row_room) {
        int64_t room = hour->row_room ? 2 * hour->row_room : PLACES_MIN;
        row_t *rows = realloc(hour->rows, (size_t)room * sizeof *rows);
        if (!rows) return NULL;
        hour->rows = rows;
        hour->row_room = room;
    }
    int64_t known = hour->row_keys.count, number = keys_number(&hour->row_keys, key, row_length);
    if (number < 0) return NULL;
    if (number == known) hour->rows[number] = (row_t){0};
    return &hour->rows[number];
}

static int64_t add_line(hour_t *hour, const uint8_t *key, size_t length, uint64_t hash, size_t row_length) {
    row_t *row = row_of(hour, key, row_length);
    if (!row) return NO_MEMORY;
    if (2 * (size_t)hour->count >= hour->place_count && !more_places(hour)) return NO_MEMORY;
    if (hour->count == hour->room) {
        int64_t room = hour->room ? 2 * hour->room : PLACES_MIN;
        line_t *lines = realloc(hour->lines, (size_t)room * sizeof *lines);
        if (!lines) return NO_MEMORY;
        hour->lines = lines;
        hour->room = room;
    }
    uint8_t *own = malloc(length);
    if (!own) return NO_MEMORY;
    memcpy(own, key, length);
    hour->lines[hour->count] = (line_t){.key = own, .length = length, .hash = hash};
    hour->places[place_of(hour, key, length, hash)] = (uint32_t)hour->count + 1;
    if (length - row_length == OTHER_LENGTH && !memcmp(key + row_length, OTHER, OTHER_LENGTH)) row->is_closed = 1;
    else row->count++;
    return hour->count++;
}

static int64_t find_line(const hour_t *hour, const uint8_t *key, size_t length, uint64_t hash) {
    return (int64_t)hour->places[place_of(hour, key, length, hash)] - 1;
}

int64_t lane_line(lane_t *lane, int64_t hour_ms, const uint8_t *key, size_t length, size_t row_length) {
    hour_t *hour = hour_at(lane, hour_ms);
    if (!hour) return NOT_THERE;
    uint64_t hash = map_hash(key, length);
    int64_t line = find_line(hour, key, length, hash);
    return line < 0 ? add_line(hour, key, length, hash, row_length) : line;
}

static uint8_t *append(uint8_t *to, span_t part, int is_last) {
    memcpy(to, part.at, part.length);
    to += part.length;
    if (!is_last) *to++ = 0;
    return to;
}

/* As `lane_line` wants it. */
static size_t key_of(const usage_t *usage, uint8_t key[KEY_MAX], size_t *row_length) {
    uint8_t *end = append(key, usage->org, 0);
    end = append(end, usage->team, 0);
    end = append(end, usage->currency, 0);
    *row_length = (size_t)(end - key);
    end = append(end, usage->provider, 0);
    end = append(end, usage->model, 1);
    return (size_t)(end - key);
}

/* The line that a key without one counts in: a new one, or that of the others when the row has no room. The row is in
 * memory as a whole when some line of it is known. NOT_THERE: that is not certain. `key` has room for the others' one. */
static int64_t new_line(const lane_t *lane, hour_t *hour, uint8_t *key, size_t length, uint64_t hash, size_t row_length) {
    const row_t *row = row_of(hour, key, row_length);
    if (!row) return NO_MEMORY;
    if (!row->is_closed && row->count < lane->names_max)
        return hour->is_new ? add_line(hour, key, length, hash, row_length) : NOT_THERE;
    memcpy(key + row_length, OTHER, OTHER_LENGTH);
    length = row_length + OTHER_LENGTH;
    hash = map_hash(key, length);
    int64_t line = find_line(hour, key, length, hash);
    return line < 0 ? add_line(hour, key, length, hash, row_length) : line;
}

static int touch(lane_t *lane, int64_t hour_ms, int64_t line) {
    if (lane->touched_count == lane->touched_room) {
        int64_t room = lane->touched_room ? 2 * lane->touched_room : PLACES_MIN;
        touched_t *touched = realloc(lane->touched, (size_t)room * sizeof *touched);
        if (!touched) return 0;
        lane->touched = touched;
        lane->touched_room = room;
    }
    lane->touched[lane->touched_count++] = (touched_t){hour_ms, line};
    return 1;
}

static void add(line_t *line, const usage_t *usage, int64_t offset) {
    if (!line->requests) line->first_offset = offset;
    line->requests++;
    line->errors += usage->is_error;
    line->cache_hits += usage->is_cache_hit;
    line->prompt_tokens += usage->prompt_tokens;
    line->completion_tokens += usage->completion_tokens;
    line->other_tokens += usage->other_tokens;
    line->rounded += usage->is_rounded;
    line->cost += usage->cost;
    line->last_offset = offset;
}

typedef enum { COUNTED, REPEATED, NOT_PLAIN, OUT_OF_MEMORY } verdict_t;

static verdict_t count(lane_t *lane, const uint8_t *payload, const part_t *part, run_t *run) {
    usage_t usage;
    const uint8_t *value = payload + part->value_at;
    if (part->key_length < 0 || part->value_length < 0) return NOT_PLAIN;
    if (!usage_read(value, (size_t)part->value_length, &usage)) return NOT_PLAIN;
    if (usage.at_ms >= run->next_mark_ms || usage.at_ms - lane->future_ms > part->timestamp) return NOT_PLAIN;
    const uint8_t *team = payload + part->key_at;
    if (!is_at_home(&usage, team, (size_t)part->key_length, lane->partition, lane->partitions)) return NOT_PLAIN;

    mark_t mark;
    known_t known = ids_look(lane->ids, usage.id.at, usage.id.length, value, (size_t)part->value_length, &mark);
    if (known != ID_NEW) return known == ID_SAME ? REPEATED : NOT_PLAIN;

    hour_t *hour = hour_at(lane, usage.at_ms - usage.at_ms % HOUR_MS);
    if (!hour) return NOT_PLAIN;
    uint8_t key[KEY_MAX];
    size_t row_length, length = key_of(&usage, key, &row_length);
    uint64_t hash = map_hash(key, length);
    int64_t line = find_line(hour, key, length, hash);
    if (line < 0) line = new_line(lane, hour, key, length, hash, row_length);
    if (line < 0) return line == NOT_THERE ? NOT_PLAIN : OUT_OF_MEMORY;
    if (!hour->lines[line].requests && !touch(lane, hour->hour_ms, line)) return OUT_OF_MEMORY;
    if (!ids_add(lane->ids, &mark, hour->expiry_h)) return OUT_OF_MEMORY;
    add(&hour->lines[line], &usage, part->offset);
    if (usage.at_ms > run->watermark_ms) run->watermark_ms = usage.at_ms;
    return COUNTED;
}

int64_t lane_run(lane_t *lane, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until, run_t *run) {
    for (int64_t at = from; at < until; at++) {
        verdict_t verdict = count(lane, payload, &parts[at], run);
        if (verdict == NOT_PLAIN) return at;
        if (verdict == OUT_OF_MEMORY) return NO_MEMORY;
        run->duplicates += verdict == REPEATED;
    }
    return until;
}

int64_t lane_touched(const lane_t *lane) { return lane->touched_count; }

void lane_take(lane_t *lane, sum_t *sums) {
    for (int64_t i = 0; i < lane->touched_count; i++) {
        touched_t at = lane->touched[i];
        line_t *line = &hour_at(lane, at.hour_ms)->lines[at.line];
        sums[i] = (sum_t){
            .hour_ms = at.hour_ms,
            .line = at.line,
            .requests = line->requests,
            .errors = line->errors,
            .cache_hits = line->cache_hits,
            .prompt_tokens = line->prompt_tokens,
            .completion_tokens = line->completion_tokens,
            .cost_low = (uint64_t)line->cost,
            .cost_high = (uint64_t)(line->cost >> 64),
            .other_tokens = line->other_tokens,
            .rounded = line->rounded,
            .first_offset = line->first_offset,
            .last_offset = line->last_offset,
        };
        *line = (line_t){.key = line->key, .length = line->length, .hash = line->hash};
    }
    lane->touched_count = 0;
}

size_t lane_key(const lane_t *lane, int64_t hour_ms, int64_t line, const uint8_t **key) {
    const hour_t *hour = hour_at((lane_t *)lane, hour_ms);
    int is_there = hour && line >= 0 && line < hour->count;
    *key = is_there ? hour->lines[line].key : NULL;
    return is_there ? hour->lines[line].length : 0;
}
