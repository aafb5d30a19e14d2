/* What a chunk counted by minute and series, with what follows from it: the minutes of all series together, the hours of
 * each, the hours of all. Merging them here, in an array of all bins, costs a tenth of counting each event four times. */
#ifndef GATHER_H
#define GATHER_H

#include "slots.h"

/* Slots, costs beyond a slot's first currency, and bins. A slot has two spreads, latency and ttft; `ends`, two a slot, says
 * where the bins of each end in `packed`. They are packed as they are stored: MessagePack, number → count. */
typedef struct {
    const slot_sum_t *slots;
    const cost_t *costs;
    const int32_t *ends;
    const uint8_t *packed;
    int64_t slot_count, cost_count, packed_length;
} gathered_t;

/* All that was counted since the last call. It stays where it is until something is counted again. Returns 1, or -2
 * without memory. */
int slots_gather(slots_t *all, gathered_t *gathered);

#endif
