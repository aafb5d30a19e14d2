#include "usage.h"

enum { KEY_MAX = 5 * TEXT_MAX + 4 };

#define OTHER "\0other" /* no provider, and this model */
#define OTHER_LENGTH (sizeof OTHER - 1)

typedef struct {
    map_key_t key;
    int64_t row; /* its number */
    unsigned __int128 cost;
    int64_t requests, errors, cache_hits, prompt_tokens, completion_tokens, other_tokens, rounded;
    int64_t first_offset, last_offset;
} line_t;

/* How many lines of its own a row has; `is_closed`: it has one of the others, and gets no more. `budget`: the number of the
 * one it counts against, and 1; 0: none. */
typedef struct {
    map_key_t key;
    int64_t count, budget;
    int is_closed;
} row_t;

/* `left`: of each budget, by its number. */
typedef struct {
    lane_t lane;
    int64_t names_max;
    int is_limited;
    unsigned __int128 *left;
    int64_t left_count, left_room;
} usage_lane_t;

/* A line of a key, made with its row when it is not there. */
static int64_t add_line(hour_t *hour, const uint8_t *key, size_t length, size_t row_length) {
    int64_t number = map_number(&hour->rows, key, row_length);
    if (number < 0) return number;
    int64_t known = hour->lines.count, line = map_number(&hour->lines, key, length);
    if (line != known) return line;
    row_t *row = map_item(&hour->rows, number);
    ((line_t *)map_item(&hour->lines, line))->row = number;
    if (length - row_length == OTHER_LENGTH && !memcmp(key + row_length, OTHER, OTHER_LENGTH)) row->is_closed = 1;
    else row->count++;
    return line;
}

int64_t usage_line(lane_t *lane, int64_t hour_ms, const uint8_t *key, size_t length, size_t row_length) {
    hour_t *hour = lane_hour(lane, hour_ms);
    return hour ? add_line(hour, key, length, row_length) : NOT_THERE;
}

/* The line that a key without one counts in: a new one, or that of the others when the row has no room. The row is in
 * memory as a whole when some line of it is known. NOT_THERE: that is not certain. `key` has room for the others' one. */
static int64_t new_line(const usage_lane_t *lane, hour_t *hour, uint8_t *key, size_t length, size_t row_length) {
    if (lane->is_limited && map_find(&hour->rows, key, row_length) < 0) return NOT_THERE;
    int64_t number = map_number(&hour->rows, key, row_length);
    if (number < 0) return number;
    const row_t *row = map_item(&hour->rows, number);
    if (!row->is_closed && row->count < lane->names_max)
        return hour->is_new ? add_line(hour, key, length, row_length) : NOT_THERE;
    memcpy(key + row_length, OTHER, OTHER_LENGTH);
    return add_line(hour, key, row_length + OTHER_LENGTH, row_length);
}

/* What is left of the budget that a line counts against; NULL: it has none. */
static unsigned __int128 *left_of(const usage_lane_t *lane, const hour_t *hour, const line_t *line) {
    const row_t *row = map_item(&hour->rows, line->row);
    return row->budget ? &lane->left[row->budget - 1] : NULL;
}

static verdict_t count(lane_t *lane, hour_t *hour, const void *event, int64_t offset) {
    const envelope_t *envelope = event;
    const struct llm_usage_data *data = &((const llm_usage_t *)event)->data;
    int64_t other_tokens = data->total_tokens - data->prompt_tokens - data->completion_tokens;
    if (other_tokens < 0) return NOT_PLAIN;

    uint8_t key[KEY_MAX];
    uint8_t *end = join(key, (span_t[]){envelope->org_id, envelope->team_id, data->currency, {key, 0}}, 4);
    size_t row_length = (size_t)(end - key);
    size_t length = (size_t)(join(end, (span_t[]){data->provider, data->model}, 2) - key);
    int64_t number = map_find(&hour->lines, key, length);
    if (number < 0) number = new_line((usage_lane_t *)lane, hour, key, length, row_length);
    if (number < 0) return number == NOT_THERE ? NOT_PLAIN : OUT_OF_MEMORY;

    line_t *line = map_item(&hour->lines, number);
    unsigned __int128 *left = left_of((usage_lane_t *)lane, hour, line);
    if (left && data->cost_usd.units >= *left) return NOT_PLAIN; /* it may reach a limit: the ledger adds up */
    if (!line->requests) {
        if (!lane_touch(lane, hour->hour_ms, number)) return OUT_OF_MEMORY;
        line->first_offset = offset;
    }
    line->requests++;
    line->errors += !equals(data->status, "success");
    line->cache_hits += data->cache_hit;
    line->prompt_tokens += data->prompt_tokens;
    line->completion_tokens += data->completion_tokens;
    line->other_tokens += other_tokens;
    line->rounded += data->cost_usd.is_rounded;
    line->cost += data->cost_usd.units;
    if (left) *left -= data->cost_usd.units;
    line->last_offset = offset;
    return COUNTED;
}

static void usage_free(lane_t *lane) { free(((usage_lane_t *)lane)->left); }

lane_t *usage_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, int64_t names_max) {
    static const meter_t METER = {
        .event = &llm_usage,
        .owner = offsetof(llm_usage_t, envelope.team_id),
        .row_size = sizeof(row_t),
        .line_size = sizeof(line_t),
        .count = count,
        .free = usage_free,
    };
    lane_t *lane = lane_new(&METER, sizeof(usage_lane_t), ids, partition, partitions, future_ms);
    if (lane) ((usage_lane_t *)lane)->names_max = names_max;
    return lane;
}

int64_t usage_touched(const lane_t *lane) { return lane->touched_count; }

void usage_take(lane_t *lane, sum_t *sums) {
    for (int64_t i = 0; i < lane->touched_count; i++) {
        touched_t at = lane->touched[i];
        line_t *line = map_item(&lane_hour(lane, at.hour_ms)->lines, at.number);
        sums[i] = (sum_t){
            .hour_ms = at.hour_ms,
            .line = at.number,
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
        *line = (line_t){.key = line->key, .row = line->row};
    }
    lane->touched_count = 0;
}

size_t usage_key(const lane_t *lane, int64_t hour_ms, int64_t line, const uint8_t **key) {
    const hour_t *hour = lane_hour(lane, hour_ms);
    span_t found = {0};
    if (hour && line >= 0 && line < hour->lines.count) found = map_key(&hour->lines, line);
    *key = found.at;
    return found.length;
}

void usage_limited(lane_t *lane, int is_limited) { ((usage_lane_t *)lane)->is_limited = is_limited; }

int usage_left(lane_t *lane, int64_t budget, uint64_t low, uint64_t high) {
    usage_lane_t *usage = (usage_lane_t *)lane;
    while (budget >= usage->left_count) {
        unsigned __int128 *left = with_room(usage->left, usage->left_count, &usage->left_room, sizeof *left);
        if (!left) return NO_MEMORY;
        usage->left = left;
        left[usage->left_count++] = 0;
    }
    usage->left[budget] = (unsigned __int128)high << 64 | low;
    return 1;
}

int usage_bind(lane_t *lane, int64_t hour_ms, const uint8_t *key, size_t row_length, int64_t budget) {
    hour_t *hour = lane_hour(lane, hour_ms);
    if (!hour) return NOT_THERE;
    if (budget >= ((usage_lane_t *)lane)->left_count && usage_left(lane, budget, 0, 0) < 0) return NO_MEMORY;
    int64_t number = map_number(&hour->rows, key, row_length);
    if (number < 0) return NO_MEMORY;
    ((row_t *)map_item(&hour->rows, number))->budget = budget + 1;
    return 1;
}

int usage_spend(lane_t *lane, int64_t budget, uint64_t low, uint64_t high) {
    const usage_lane_t *usage = (usage_lane_t *)lane;
    unsigned __int128 cost = (unsigned __int128)high << 64 | low;
    if (budget >= usage->left_count || cost >= usage->left[budget]) return 0;
    usage->left[budget] -= cost;
    return 1;
}
