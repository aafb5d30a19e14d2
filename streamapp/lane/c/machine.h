/* What the sources take for granted about the machine. */
#ifndef MACHINE_H
#define MACHINE_H

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the fast path needs a little-endian machine: words are read from memory as they lie there"
#endif

#endif
