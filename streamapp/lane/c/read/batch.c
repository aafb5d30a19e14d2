#include "read/batch.h"

enum { VARINT_BYTES_MAX = 10 };

typedef struct {
    const uint8_t *start, *at, *end;
} cursor_t;

/* A zigzag varint of up to 64 bits. */
static int read_varint(cursor_t *cursor, int64_t *number) {
    uint64_t bits = 0;
    for (int i = 0; i < VARINT_BYTES_MAX && cursor->at < cursor->end; i++) {
        uint8_t byte = *cursor->at++;
        bits |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte < 0x80) {
            *number = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
            return 1;
        }
    }
    return 0;
}

/* Bytes behind their length; a length of -1 is null. */
static int skip_bytes(cursor_t *cursor, int32_t *at, int32_t *length) {
    int64_t number;
    if (!read_varint(cursor, &number) || number < -1 || number > cursor->end - cursor->at) return 0;
    *at = (int32_t)(cursor->at - cursor->start);
    *length = (int32_t)number;
    if (number > 0) cursor->at += number;
    return 1;
}

/* Headers must end where their record does: a name, never null, and a value each. */
static int skip_headers(cursor_t *record) {
    int64_t count;
    int32_t at, length;
    if (!read_varint(record, &count) || count < 0 || count > record->end - record->at) return 0;
    for (; count; count--)
        if (!skip_bytes(record, &at, &length) || length < 0 || !skip_bytes(record, &at, &length)) return 0;
    return record->at == record->end;
}

static int read_record(cursor_t *cursor, int64_t base_offset, int64_t base_ms, int64_t append_ms, part_t *part) {
    int64_t length, delta_ms, delta;
    if (!read_varint(cursor, &length) || length < 1 || length > cursor->end - cursor->at) return 0;
    cursor_t record = {cursor->start, cursor->at + 1, cursor->at + length}; /* one byte of attributes, unused */
    if (!read_varint(&record, &delta_ms) || !read_varint(&record, &delta)) return 0;
    if (!skip_bytes(&record, &part->key_at, &part->key_length)) return 0;
    if (!skip_bytes(&record, &part->value_at, &part->value_length)) return 0;
    if (__builtin_add_overflow(base_offset, delta, &part->offset)) return 0;
    /* A client may have written any timestamp: it wraps, and is refused as a record, not as a batch. */
    part->timestamp = append_ms < 0 ? (int64_t)((uint64_t)base_ms + (uint64_t)delta_ms) : append_ms;
    part->headers_at = (int32_t)(record.at - record.start);
    part->headers_length = (int32_t)(record.end - record.at);
    cursor->at = record.end;
    return skip_headers(&record);
}

int batch_read(const uint8_t *payload, size_t length, int64_t base_offset, int64_t base_ms, int64_t append_ms,
               int64_t count, part_t *parts) {
    cursor_t cursor = {payload, payload, payload + length};
    if (length > INT32_MAX) return 0;
    for (int64_t i = 0; i < count; i++) {
        if (!read_record(&cursor, base_offset, base_ms, append_ms, &parts[i])) return 0;
        if (parts[i].offset < (i ? parts[i - 1].offset + 1 : base_offset)) return 0;
    }
    return cursor.at == cursor.end;
}

int64_t batch_bytes(const part_t *parts, int64_t from, int64_t until) {
    int64_t bytes = 0;
    for (int64_t i = from; i < until; i++)
        if (parts[i].value_length > 0) bytes += parts[i].value_length;
    return bytes;
}
