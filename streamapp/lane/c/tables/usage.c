#include "tables/bill.h"

#define COST_END ((unsigned __int128)10000000000000000000ull * 10000000000000000000ull)

/* `limits`: those of the lane when the row was bound. `budget`: the number of the one it counts against, or NO_BUDGET. */
typedef struct {
    row_t base;
    unsigned __int128 cost;
    int64_t limits, budget;
} hour_row_t;

/* `limits`: how often the limits were set. `left`: of each budget, by its number. */
typedef struct {
    rows_lane_t base;
    int is_limited;
    int64_t limits;
    unsigned __int128 *left;
    int64_t left_count, left_room;
} usage_lane_t;

/* Count in the line whose key is in the lane's. */
static int add(rows_lane_t *lane, hour_t *hour, size_t account_length, const sums_t *sums, const int64_t offsets[2],
               int is_stored) {
    if (lane->key.is_full) return NO_MEMORY;
    if (!hour || sums->cost >= COST_END) return NOT_THERE;
    int64_t at = map_find(&hour->lines, lane->key.bytes, lane->key.length);
    int64_t number = at >= 0 ? line_at(hour, at)->row : map_find(&hour->rows, lane->key.bytes, account_length);
    if (number >= 0 && ((hour_row_t *)row_at(hour, number))->cost + sums->cost >= COST_END) return NOT_THERE;
    if (at < 0) at = rows_line(lane, hour, account_length, is_stored);
    if (at < 0) return NO_MEMORY;
    if (!is_stored) {
        if (!rows_touch(lane, hour, at, sums->requests)) return NO_MEMORY;
        lane->rounded += sums->rounded;
    }
    model_t *line = (model_t *)line_at(hour, at);
    hour_row_t *row = (hour_row_t *)row_at(hour, line->base.row);
    add_sums(&line->sums, sums);
    row->cost += sums->cost;
    if (row->base.first_offset < 0) row->base.first_offset = offsets[0];
    row->base.last_offset = offsets[1];
    return 1;
}

int usage_add(lane_t *of, const used_t *used, int is_stored) {
    rows_lane_t *lane = (rows_lane_t *)of;
    const counts_t *counts = &used->counts;
    sums_t sums = {
        .requests = counts->requests,
        .errors = counts->errors,
        .cache_hits = counts->cache_hits,
        .rounded = counts->rounded,
        .prompt_tokens = whole(counts->prompt_tokens),
        .completion_tokens = whole(counts->completion_tokens),
        .other_tokens = whole(counts->other_tokens),
        .cost = whole(counts->cost),
    };
    lane->key.length = 0;
    put_bytes(&lane->key, used->account, used->account_length);
    put_bytes(&lane->key, used->names, used->names_length);
    int64_t offsets[] = {used->first_offset, used->last_offset};
    return add(lane, lane_hour(of, used->hour_ms), used->account_length, &sums, offsets, is_stored);
}

/* Whether a record of this row may be plain. `left`: of its budget, if it has one. */
static int is_bound(usage_lane_t *lane, const hour_row_t *row, unsigned __int128 **left) {
    if (!lane->is_limited) return 1;
    if (row->limits != lane->limits) return 0;
    if (row->budget != NO_BUDGET) *left = &lane->left[row->budget];
    return 1;
}

static void put_span(buffer_t *buffer, span_t span) { put_string(buffer, span.at, span.length); }

static verdict_t count(lane_t *of, hour_t *hour, const void *event, int64_t offset) {
    rows_lane_t *lane = (rows_lane_t *)of;
    const envelope_t *envelope = event;
    const struct llm_usage_data *data = &((const llm_usage_t *)event)->data;
    int64_t other_tokens = data->total_tokens - data->prompt_tokens - data->completion_tokens;
    if (other_tokens < 0) return NOT_PLAIN;

    buffer_t *key = &lane->key;
    key->length = 0;
    put_array(key, 3);
    put_span(key, envelope->org_id);
    put_span(key, envelope->team_id);
    put_span(key, data->currency);
    size_t account_length = key->length;
    put_span(key, data->provider);
    put_span(key, data->model);
    if (key->is_full) return OUT_OF_MEMORY;
    unsigned __int128 *left = NULL;
    usage_lane_t *usage = (usage_lane_t *)of;
    if (!hour->is_new || usage->is_limited) {
        int64_t row = map_find(&hour->rows, key->bytes, account_length);
        if (row < 0 || !is_bound(usage, (const hour_row_t *)row_at(hour, row), &left)) return NOT_PLAIN;
        if (left && data->cost_usd.units >= *left) return NOT_PLAIN; /* it may reach a limit: the ledger adds up */
    }
    sums_t sums = {
        .requests = 1,
        .errors = !equals(data->status, "success"),
        .cache_hits = data->cache_hit,
        .rounded = data->cost_usd.is_rounded,
        .prompt_tokens = (uint64_t)data->prompt_tokens,
        .completion_tokens = (uint64_t)data->completion_tokens,
        .other_tokens = (uint64_t)other_tokens,
        .cost = data->cost_usd.units,
    };
    int done = add(lane, hour, account_length, &sums, (int64_t[]){offset, offset}, 0);
    if (done > 0 && left) *left -= sums.cost;
    return done == NO_MEMORY ? OUT_OF_MEMORY : done < 0 ? NOT_PLAIN : COUNTED;
}

/* A row of which nothing is stated. */
static void put(rows_lane_t *lane, hour_t *hour, int64_t number) {
    static const uint8_t NOTHING[] = "\xC0\x98\0\0\0\0\0\xA5"
                                     "0E-12\0\0"; /* no revision, and what it stated */
    const row_t *row = row_at(hour, number);
    put_array(&lane->out, 6);
    put_flag(&lane->out, 0);
    put_number(&lane->out, row->first_offset);
    put_number(&lane->out, row->last_offset);
    put_bytes(&lane->out, NOTHING, sizeof NOTHING - 1);
    bill_lines(lane, hour, row);
}

static void usage_free(lane_t *lane) {
    free(((usage_lane_t *)lane)->left);
    rows_free(lane);
}

lane_t *usage_new(ids_t *ids, int32_t partition, int32_t partitions, int64_t future_ms, int64_t names_max) {
    static const uint8_t OTHER[] = "\xA0\xA5other"; /* no provider, and this model */
    static const meter_t METER = {
        .event = &llm_usage,
        .owner = offsetof(llm_usage_t, envelope.team_id),
        .row_size = sizeof(hour_row_t),
        .line_size = sizeof(model_t),
        .count = count,
        .free = usage_free,
    };
    rows_lane_t *lane = (rows_lane_t *)lane_new(&METER, sizeof(usage_lane_t), ids, partition, partitions, future_ms);
    if (!lane) return NULL;
    lane->names_max = names_max;
    lane->other = OTHER;
    lane->other_length = sizeof OTHER - 1;
    lane->keeps_other = 1;
    lane->put = put;
    return &lane->lane;
}

/* The row of an account in an open hour; NULL: there is none. */
static hour_row_t *found_row(const lane_t *lane, int64_t hour_ms, const uint8_t *account, size_t length) {
    const hour_t *hour = lane_hour(lane, hour_ms);
    int64_t number = hour ? map_find(&hour->rows, account, length) : NOT_THERE;
    return number < 0 ? NULL : (hour_row_t *)row_at(hour, number);
}

void usage_limited(lane_t *lane, int is_limited) {
    usage_lane_t *usage = (usage_lane_t *)lane;
    usage->is_limited = is_limited;
    usage->limits++;
    usage->left_count = 0;
}

int usage_left(lane_t *lane, int64_t budget, uint64_t low, uint64_t high) {
    usage_lane_t *usage = (usage_lane_t *)lane;
    while (budget >= usage->left_count) {
        unsigned __int128 *left = with_room(usage->left, usage->left_count, &usage->left_room, sizeof *left);
        if (!left) return NO_MEMORY;
        usage->left = left;
        left[usage->left_count++] = 0;
    }
    usage->left[budget] = whole((wide_t){low, high});
    return 1;
}

int usage_bind(lane_t *lane, int64_t hour_ms, const uint8_t *account, size_t length, int64_t budget) {
    usage_lane_t *usage = (usage_lane_t *)lane;
    hour_row_t *row = found_row(lane, hour_ms, account, length);
    if (!row) return NOT_THERE;
    if (budget >= usage->left_count && usage_left(lane, budget, 0, 0) < 0) return NO_MEMORY;
    row->budget = budget;
    row->limits = usage->limits;
    return 1;
}

int usage_spend(lane_t *lane, int64_t budget, uint64_t low, uint64_t high) {
    const usage_lane_t *usage = (usage_lane_t *)lane;
    unsigned __int128 cost = whole((wide_t){low, high});
    if (budget >= usage->left_count || cost >= usage->left[budget]) return 0;
    usage->left[budget] -= cost;
    return 1;
}

int usage_cost(const lane_t *lane, int64_t hour_ms, const uint8_t *account, size_t length, wide_t *cost) {
    const hour_row_t *row = found_row(lane, hour_ms, account, length);
    if (!row) return NOT_THERE;
    *cost = halves(row->cost);
    return 1;
}

int64_t usage_costs(lane_t *of, int64_t hour_ms, const uint8_t **packed) {
    rows_lane_t *lane = (rows_lane_t *)of;
    const hour_t *hour = lane_hour(of, hour_ms);
    lane->out.length = 0;
    for (int64_t i = 0; hour && i < hour->rows.count; i++) {
        span_t account = map_key(&hour->rows, i);
        cost_t head = {.cost = halves(((const hour_row_t *)row_at(hour, i))->cost), .account_length = account.length};
        put_bytes(&lane->out, &head, sizeof head);
        put_bytes(&lane->out, account.at, account.length);
    }
    *packed = lane->out.bytes;
    return lane->out.is_full ? NO_MEMORY : (int64_t)lane->out.length;
}
