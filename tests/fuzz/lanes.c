/* Commands to the lanes of one partition, in any order: a letter, a number, and for records their bytes (two bytes of
 * length before them). */
#include <stdlib.h>
#include <string.h>

#include "tables/calls.h"
#include "tables/latency.h"
#include "tables/bill.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HOUR_MS = 3600000, NAMES_MAX = 3 };
enum { USAGE, LATENCY, CALLS, LANES };

static const int64_t START_MS = 1736935200000; /* 2025-01-15T10:00Z, an hour of the corpus */

typedef struct {
    ids_t *ids[LANES];
    lane_t *lanes[LANES];
    int64_t offset;
} world_t;

static void *must(void *made) {
    if (!made) abort();
    return made;
}

static void run(world_t *world, const uint8_t *value, size_t length) {
    llm_usage_t usage;
    rpc_metered_t call;
    span_t key = {value, 0};
    uint8_t *payload = must(malloc(2 * length + 1));
    memcpy(payload, value, length);
    if (event_read(&llm_usage, payload, length, &usage)) {
        key = usage.envelope.team_id;
        uint8_t text[1024];
        uint8_t *end = join(text, (span_t[]){usage.data.provider, usage.data.model, usage.data.currency}, 3);
        latency_learn(world->lanes[LATENCY], text, (size_t)(end - text), 0, 0);
    } else if (event_read(&rpc_metered, payload, length, &call)) {
        key = call.data.agent_id;
    }
    memcpy(payload + length, key.at, key.length);
    part_t part = {
        .offset = world->offset++,
        .timestamp = 1ll << 60,
        .key_at = (int32_t)length,
        .key_length = (int32_t)key.length,
        .value_length = (int32_t)length,
    };
    run_t state = {-1, 1ll << 60, 0};
    for (int i = 0; i < LANES; i++) lane_run(world->lanes[i], payload, &part, 0, 1, &state);
    /* The same event again is a repetition or was not plain: never counted twice. */
    size_t known[LANES];
    int64_t touched = latency_touched(world->lanes[LATENCY]);
    for (int i = 0; i < LANES; i++) known[i] = ids_count(world->ids[i]);
    for (int i = 0; i < LANES; i++) {
        int64_t before = world->lanes[i]->touched_count;
        lane_run(world->lanes[i], payload, &part, 0, 1, &state);
        if (before != world->lanes[i]->touched_count || known[i] != ids_count(world->ids[i])) abort();
    }
    if (touched != latency_touched(world->lanes[LATENCY])) abort();
    free(payload);
}

static const uint8_t ACCOUNT[] = "\xa9" "org_hanzo" "\xab" "team_abc123" "\xa3" "USD"; /* MessagePack */

static void take_all(world_t *world, int64_t hour_ms) {
    const uint8_t *start;
    wide_t cost;
    int kept[] = {USAGE, CALLS};
    for (int i = 0; i < 2; i++) {
        lane_t *lane = world->lanes[kept[i]];
        rows_changed(lane, &start);
        if (rows_changed(lane, &start)) abort(); /* nothing has since */
        rows_of(lane, hour_ms, &start);
        rows_others(lane);
        rows_rounded(lane);
    }
    usage_costs(world->lanes[USAGE], hour_ms, &start);
    int known = rows_known(world->lanes[USAGE], hour_ms, ACCOUNT, sizeof ACCOUNT - 1);
    if ((usage_cost(world->lanes[USAGE], hour_ms, ACCOUNT, sizeof ACCOUNT - 1, &cost) == 1) != known) abort();
    taken_t taken;
    latency_take(world->lanes[LATENCY], &taken);
}

/* A record that was counted by hand, in one of a few lines. */
static void add(world_t *world, int64_t hour_ms, uint32_t number) {
    uint8_t names[] = "\xa6" "openai" "\xa2" "m0";
    names[sizeof names - 2] += (uint8_t)(number % 5);
    used_t used = {
        .hour_ms = hour_ms,
        .account = ACCOUNT,
        .names = names,
        .account_length = sizeof ACCOUNT - 1,
        .names_length = sizeof names - 1,
        .counts = {.requests = 1, .errors = number & 1, .cost = {(uint64_t)number << 40, 0}},
        .first_offset = world->offset,
        .last_offset = world->offset,
    };
    usage_add(world->lanes[USAGE], &used, number % 3 == 0);
    world->offset++;
}

static void restored(world_t *world, const uint8_t *bytes, size_t length, uint32_t hour) {
    size_t secret = length > 40 ? 16 : 0, digests = (length - secret) / 3 * 2;
    stored_t stored = {bytes, bytes + secret, bytes + secret + digests, secret, digests, length - secret - digests, hour};
    for (int i = 0; i < LANES; i++) ids_restore(world->ids[i], &stored);
}

static void save(world_t *world) {
    for (int i = 0; i < LANES; i++) {
        size_t logged = ids_logged(world->ids[i]);
        uint32_t expiries[8];
        uint8_t *digests = must(malloc(16 * logged + 1)), *prints = must(malloc(8 * logged + 1));
        size_t count = ids_expiries(world->ids[i], expiries, 8);
        for (size_t at = 0; at < count && at < 8; at++) ids_take(world->ids[i], expiries[at], digests, prints);
        ids_take_end(world->ids[i]);
        free(digests);
        free(prints);
    }
}

/* Rows count against budgets, of which something is left. What is spent never brings one below zero: it would be far again. */
static void limit(world_t *world, int64_t hour_ms, uint32_t number) {
    lane_t *usage = world->lanes[USAGE];
    usage_limited(usage, (int)(number & 1));
    usage_bind(usage, hour_ms, ACCOUNT, sizeof ACCOUNT - 1, number % 5);
    usage_left(usage, number % 7, (uint64_t)number << 30, 0);
    if (usage_spend(usage, number % 7, (uint64_t)number << 30, 0)) abort();
    if (number && !usage_spend(usage, number % 7, ((uint64_t)number << 30) - 1, 0)) abort();
}

static size_t step(world_t *world, const uint8_t *data, size_t size) {
    uint32_t number = data[1] % 80;
    int64_t hour_ms = START_MS + (int64_t)(number % 70) * HOUR_MS;
    uint32_t hour = (uint32_t)(START_MS / HOUR_MS) + number;
    size_t length = size >= 4 ? (size_t)data[2] | (size_t)data[3] << 8 : 0;
    if (length > size - (size < 4 ? size : 4)) length = size < 4 ? 0 : size - 4;
    switch (data[0]) {
        case 'o':
            for (int i = 0; i < LANES; i++) lane_open(world->lanes[i], hour_ms, hour + 26, data[1] < 160);
            return 2;
        case 'c': {
            const uint8_t *start;
            static const period_t PERIOD = {"type", "start", "end", "id"};
            for (int64_t next = 0; bill_closed(world->lanes[USAGE], hour_ms, &PERIOD, &next, &start) > 0;) {}
            for (int i = 0; i < LANES; i++) lane_close(world->lanes[i], hour_ms);
            return 2;
        }
        case 'b': limit(world, hour_ms, number); return 2;
        case 'a': add(world, hour_ms, number); return 2;
        case 't': take_all(world, hour_ms); return 2;
        case 's': save(world); return 2;
        case 'f':
            for (int i = 0; i < LANES; i++) ids_forget(world->ids[i], hour);
            return 2;
        case 'm': restored(world, data + (size < 4 ? size : 4), length, hour); break;
        case 'r': run(world, data + (size < 4 ? size : 4), length); break;
        default: return 1;
    }
    return 4 + length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t SECRET[SECRET_BYTES] = "a secret";
    static const int64_t EDGES[] = {0, 10, 100, 1000, 10000, 100000}, BOUNDS_US[BOUNDS] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    world_t world = {0};
    for (int i = 0; i < LANES; i++) world.ids[i] = must(ids_new(SECRET, i ? "/tmp" : NULL, 4));
    world.lanes[USAGE] = must(usage_new(world.ids[USAGE], 0, 1, 0, NAMES_MAX));
    world.lanes[LATENCY] = must(latency_new(world.ids[LATENCY], 0, 1, 0, EDGES, 6, BOUNDS_US));
    world.lanes[CALLS] = must(calls_new(world.ids[CALLS], 0, 1, 0, NAMES_MAX));
    for (size_t at = 0; at + 2 <= size;) at += step(&world, data + at, size - at);
    for (int i = 0; i < LANES; i++) {
        lane_free(world.lanes[i]);
        ids_free(world.ids[i]);
    }
    return 0;
}
