/* Commands to the lanes of one partition, in any order: a letter, a number, and for records their bytes (two bytes of
 * length before them). */
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "gather.h"
#include "lane.h"
#include "metering.h"
#include "tally.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HOUR_MS = 3600000, NAMES_MAX = 3 };

static const int64_t START_MS = 1736935200000; /* 2025-01-15T10:00Z, an hour of the corpus */

typedef struct {
    ids_t *ids[3];
    lane_t *lane;
    slots_t *slots;
    tally_t *tally;
    rows_t *rows;
    calls_t *calls;
    int64_t offset;
} world_t;

static void *must(void *made) {
    if (!made) abort();
    return made;
}

static void run(world_t *world, const uint8_t *value, size_t length) {
    usage_t usage;
    call_t call;
    span_t key = {value, 0};
    uint8_t *payload = must(malloc(2 * length + 1));
    memcpy(payload, value, length);
    if (usage_read(payload, length, &usage)) {
        key = usage.team;
        uint8_t text[1024];
        size_t at = 0;
        const span_t names[] = {usage.provider, usage.model, usage.currency};
        for (int i = 0; i < 3; i++) {
            memcpy(text + at, names[i].at, names[i].length);
            at += names[i].length;
            text[at++] = 0;
        }
        tally_learn(world->tally, text, at - 1, 0, 0);
    } else if (call_read(payload, length, &call)) {
        key = call.agent;
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
    lane_run(world->lane, payload, &part, 0, 1, &state);
    tally_run(world->tally, payload, &part, 0, 1, &state);
    calls_run(world->calls, payload, &part, 0, 1, &state);
    /* The same event again is a repetition or was not plain: never counted twice. */
    int64_t touched = lane_touched(world->lane), counted = rows_count(world->rows);
    size_t known = ids_count(world->ids[0]);
    lane_run(world->lane, payload, &part, 0, 1, &state);
    calls_run(world->calls, payload, &part, 0, 1, &state);
    if (touched != lane_touched(world->lane) || counted != rows_count(world->rows) || known != ids_count(world->ids[0]))
        abort();
    free(payload);
}

static void take_all(world_t *world) {
    sum_t *sums = must(malloc((size_t)(lane_touched(world->lane) + 1) * sizeof *sums));
    const uint8_t *start;
    int64_t count = lane_touched(world->lane);
    lane_take(world->lane, sums);
    for (int64_t at = 0; at < count; at++)
        if (!lane_key(world->lane, sums[at].hour_ms, sums[at].line, &start)) abort();
    free(sums);
    rows_changed(world->rows, &start);
    rows_of(world->rows, START_MS, &start);
    gathered_t gathered;
    slots_gather(world->slots, &gathered);
}

static void restored(world_t *world, const uint8_t *bytes, size_t length, uint32_t hour) {
    size_t secret = length > 40 ? 16 : 0, digests = (length - secret) / 3 * 2;
    stored_t stored = {bytes, bytes + secret, bytes + secret + digests, secret, digests, length - secret - digests, hour};
    for (int i = 0; i < 3; i++) ids_restore(world->ids[i], &stored);
}

static void save(world_t *world) {
    for (int i = 0; i < 3; i++) {
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

static size_t step(world_t *world, const uint8_t *data, size_t size) {
    uint32_t number = data[1] % 80;
    int64_t hour_ms = START_MS + (int64_t)(number % 70) * HOUR_MS;
    uint32_t hour = (uint32_t)(START_MS / HOUR_MS) + number;
    size_t length = size >= 4 ? (size_t)data[2] | (size_t)data[3] << 8 : 0;
    if (length > size - (size < 4 ? size : 4)) length = size < 4 ? 0 : size - 4;
    switch (data[0]) {
        case 'o':
            lane_open(world->lane, hour_ms, hour + 26, data[1] < 160);
            tally_open(world->tally, hour_ms, hour + 26);
            rows_open(world->rows, hour_ms, hour + 26);
            return 2;
        case 'c':
            lane_close(world->lane, hour_ms);
            tally_close(world->tally, hour_ms);
            rows_close(world->rows, hour_ms);
            return 2;
        case 't': take_all(world); return 2;
        case 's': save(world); return 2;
        case 'f':
            for (int i = 0; i < 3; i++) ids_forget(world->ids[i], hour);
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
    for (int i = 0; i < 3; i++) world.ids[i] = must(ids_new(SECRET, i ? "/tmp" : NULL, 4));
    world.lane = must(lane_new(world.ids[0], 0, 1, 0, NAMES_MAX));
    world.slots = must(slots_new(EDGES, 6, BOUNDS_US));
    world.tally = must(tally_new(world.ids[1], world.slots, 0, 1, 0));
    world.rows = must(rows_new(NAMES_MAX));
    world.calls = must(calls_new(world.ids[2], world.rows, 0, 1, 0));
    for (size_t at = 0; at + 2 <= size;) at += step(&world, data + at, size - at);
    calls_free(world.calls);
    rows_free(world.rows);
    tally_free(world.tally);
    slots_free(world.slots);
    lane_free(world.lane);
    for (int i = 0; i < 3; i++) ids_free(world.ids[i]);
    return 0;
}
