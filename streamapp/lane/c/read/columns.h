/* Captured events as columns that Arrow takes: rows in the order of their records. Plain events are read here; whatever
 * Python makes of the others is added between them. */
#ifndef COLUMNS_H
#define COLUMNS_H

#include "read/batch.h"

/* uuid, event, properties, team, distinct id, session; behind them the numbers: moment, record timestamp, offset. */
enum { TEXTS = 6, NUMBERS = 3, BUFFERS = 2 * TEXTS + NUMBERS };

typedef struct columns columns_t;

/* `keeps_ip`: the client's address becomes one of the properties. Returns NULL without memory. */
columns_t *columns_new(int keeps_ip);
void columns_free(columns_t *columns);

/* Add the events in the records of a payload from `from` to before `until`. Returns the first that is not plain, or
 * `until`; -2 without memory. After that nothing of the columns may be used. */
int64_t columns_run(columns_t *columns, const uint8_t *payload, const part_t *parts, int64_t from, int64_t until);

/* Add one row. Returns 0, or -2 without memory. */
int columns_add(columns_t *columns, const uint8_t *const texts[TEXTS], const size_t lengths[TEXTS],
                const int64_t numbers[NUMBERS]);

int64_t columns_count(const columns_t *columns);

/* One of the buffers, as long as nothing is added: of each text where its rows end (32 bits, a zero first), then its
 * bytes; then the numbers (64 bits). Returns its length in bytes. */
size_t columns_buffer(const columns_t *columns, int number, const uint8_t **start);

#endif
