/* Where a team is at home. */
#ifndef HOME_H
#define HOME_H

#include <string.h>

#include "hash.h"
#include "usage.h"

/* Whether the record key is the team's, and murmur2 puts it on this partition. */
static inline int is_at_home(const usage_t *usage, const uint8_t *key, size_t length, int32_t partition,
                             int32_t partitions) {
    if (length != usage->team.length || memcmp(key, usage->team.at, length)) return 0;
    return (int32_t)((murmur2(key, length) & 0x7FFFFFFF) % (uint32_t)partitions) == partition;
}

#endif
