#include "tables/bill.h"

#include "base/hash.h"

enum { RANDOM_BYTES = 10, RANDOM_LETTERS = 16 };

static inline void put_text(buffer_t *out, const char *text) { put_bytes(out, text, strlen(text)); }

/* As they are stored. */
static void put_sums(buffer_t *out, const sums_t *sums) {
    put_number(out, sums->requests);
    put_number(out, sums->errors);
    put_number(out, sums->cache_hits);
    put_wide(out, sums->prompt_tokens);
    put_wide(out, sums->completion_tokens);
    put_money(out, sums->cost);
    put_wide(out, sums->other_tokens);
    put_number(out, sums->rounded);
}

void bill_lines(rows_lane_t *lane, const hour_t *hour, const row_t *row) {
    buffer_t *out = &lane->out;
    put_array(out, (size_t)row->count);
    for (const line_t *line = line_behind(hour, row->first); line; line = line_behind(hour, line->next)) {
        span_t name = rows_name(hour, line);
        put_array(out, 10);
        put_bytes(out, name.at, name.length);
        put_sums(out, &((const model_t *)line)->sums);
    }
}

/* The row with its first statement, which says all of it. */
static void put_stated(rows_lane_t *lane, const hour_t *hour, const row_t *row, const sums_t *totals) {
    buffer_t *out = &lane->out;
    put_array(out, 6);
    put_flag(out, 1);
    put_number(out, row->first_offset);
    put_number(out, row->last_offset);
    put_number(out, 0); /* the revision */
    put_array(out, 8);
    put_sums(out, totals);
    bill_lines(lane, hour, row);
}

/* Behind a brace, or behind what a line has beside. */
static void put_counts(buffer_t *out, const sums_t *sums) {
    put_text(out, "\"requests\":");
    put_digits(out, (uint64_t)sums->requests);
    put_text(out, ",\"errors\":");
    put_digits(out, (uint64_t)sums->errors);
    put_text(out, ",\"cache_hits\":");
    put_digits(out, (uint64_t)sums->cache_hits);
    put_text(out, ",\"prompt_tokens\":");
    put_digits(out, sums->prompt_tokens);
    put_text(out, ",\"completion_tokens\":");
    put_digits(out, sums->completion_tokens);
    put_text(out, ",\"total_tokens\":");
    put_digits(out, sums->prompt_tokens + sums->completion_tokens + sums->other_tokens);
    put_text(out, ",\"cost\":\"");
    put_fixed(out, sums->cost);
    put_text(out, "\"}");
}

/* The lines as a bill has them: in the order of their names. */
static void put_bill_lines(rows_lane_t *lane, const hour_t *hour, const row_t *row) {
    buffer_t *out = &lane->out;
    const named_t *sorted = rows_sorted(lane, hour, row);
    out->is_full |= !sorted;
    for (int64_t i = 0; sorted && i < row->count; i++) {
        span_t name = sorted[i].name;
        put_text(out, i ? ",{\"provider\":" : "[{\"provider\":");
        put_json_string(out, take_name(&name));
        put_text(out, ",\"model\":");
        put_json_string(out, take_name(&name));
        put_text(out, ",");
        put_counts(out, &((const model_t *)sorted[i].line)->sums);
    }
    put_text(out, "]");
}

/* Whose row it is, from its key. */
typedef struct {
    span_t org, team, currency;
} owner_t;

static owner_t owner_of(span_t account) {
    span_t rest = {account.at + 1, account.length - 1}; /* behind the head of an array of three */
    owner_t owner = {.org = take_name(&rest)};
    owner.team = take_name(&rest);
    owner.currency = take_name(&rest);
    return owner;
}

/* streamapp/schemas/values/ulid.py:statement_id */
static void put_id(buffer_t *out, const period_t *period, const owner_t *owner) {
    static const char LETTERS[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    size_t start = out->length;
    put_text(out, "[\"");
    put_text(out, period->type);
    put_text(out, "\",");
    put_json_string(out, owner->org);
    put_text(out, ",");
    put_json_string(out, owner->team);
    put_text(out, ",");
    put_json_string(out, owner->currency);
    put_text(out, ",\"");
    put_text(out, period->start);
    put_text(out, "\",0]");
    if (out->is_full) return;
    uint8_t digest[SHA256_BYTES], letters[RANDOM_LETTERS];
    sha256(out->bytes + start, out->length - start, digest);
    out->length = start;
    unsigned __int128 random = 0;
    for (int i = 0; i < RANDOM_BYTES; i++) random = random << 8 | digest[i];
    for (int i = RANDOM_LETTERS; i; random >>= 5) letters[--i] = (uint8_t)LETTERS[random & 31];
    put_text(out, period->id);
    put_bytes(out, letters, sizeof letters);
}

/* A text behind its name. */
static void put_field(buffer_t *out, const char *name, span_t text) {
    put_text(out, name);
    put_json_string(out, text);
}

static span_t text_of(const char *text) { return (span_t){(const uint8_t *)text, strlen(text)}; }

static void put_bill(rows_lane_t *lane, const hour_t *hour, const row_t *row, const sums_t *totals, const owner_t *owner,
                     const period_t *period, size_t id_at) {
    buffer_t *out = &lane->out;
    size_t id_length = out->length - id_at;
    put_field(out, "\"team_id\":", owner->team);
    put_field(out, ",\"org_id\":", owner->org);
    put_text(out, ",\"data\":{\"billing_id\":\"");
    put_again(out, id_at, id_length);
    put_field(out, "\",\"revision\":0,\"supersedes\":null,\"team_id\":", owner->team);
    put_field(out, ",\"period_start\":", text_of(period->start));
    put_field(out, ",\"period_end\":", text_of(period->end));
    put_field(out, ",\"currency\":", owner->currency);
    put_text(out, ",\"totals\":{");
    size_t totals_at = out->length;
    put_counts(out, totals);
    size_t totals_length = out->length - totals_at;
    put_text(out, ",\"delta\":{");
    put_again(out, totals_at, totals_length);
    put_text(out, ",\"lines\":");
    put_bill_lines(lane, hour, row);
}

static void put_closed(rows_lane_t *lane, const hour_t *hour, int64_t number, const period_t *period) {
    static const closed_t EMPTY;
    buffer_t *out = &lane->out;
    const row_t *row = row_at(hour, number);
    owner_t owner = owner_of(map_key(&hour->rows, number));
    sums_t totals = {0};
    for (const line_t *line = line_behind(hour, row->first); line; line = line_behind(hour, line->next))
        add_sums(&totals, &((const model_t *)line)->sums);
    size_t ends[5] = {put_bytes(out, &EMPTY, sizeof EMPTY) + sizeof EMPTY};
    rows_put_key(lane, hour, number);
    ends[1] = out->length;
    put_stated(lane, hour, row, &totals);
    ends[2] = out->length;
    put_id(out, period, &owner);
    ends[3] = out->length;
    put_bill(lane, hour, row, &totals, &owner, period, ends[2]);
    ends[4] = out->length;
    if (out->is_full) return;
    closed_t head = {
        .key_length = (uint32_t)(ends[1] - ends[0]),
        .value_length = (uint32_t)(ends[2] - ends[1]),
        .id_length = (uint32_t)(ends[3] - ends[2]),
        .bill_length = (uint32_t)(ends[4] - ends[3]),
        .first_offset = row->first_offset,
        .last_offset = row->last_offset,
        .totals = {totals.requests, totals.errors, totals.cache_hits, totals.rounded, halves(totals.prompt_tokens),
                   halves(totals.completion_tokens), halves(totals.other_tokens), halves(totals.cost)},
    };
    memcpy(out->bytes + ends[0] - sizeof head, &head, sizeof head);
}

int64_t bill_closed(lane_t *of, int64_t hour_ms, const period_t *period, int64_t *next, const uint8_t **packed) {
    rows_lane_t *lane = (rows_lane_t *)of;
    const hour_t *hour = lane_hour(of, hour_ms);
    lane->out.length = 0;
    for (; hour && *next < hour->rows.count && !lane->out.is_full && lane->out.length < PIECE_BYTES; ++*next) put_closed(lane, hour, *next, period);
    *packed = lane->out.bytes;
    return lane->out.is_full ? NO_MEMORY : (int64_t)lane->out.length;
}
