/* What the compiled modules rely on. Every one of them is compiled with this in front (setup.py).

   Lengths that come from the wire are 64 bits wide wherever they are held; what of them is in memory
   is a size_t. The shared table is changed by several processes at once, in words of 8 bytes. */

#ifndef TLB_MACHINE_H
#define TLB_MACHINE_H

#include <stddef.h>

_Static_assert(
    sizeof(size_t) == 8 && sizeof(void *) == 8,
    "trio-lb needs a 64-bit system: a Content-Length must fit a size_t");
_Static_assert(
    __atomic_always_lock_free(8, 0),
    "trio-lb needs lock-free atomics of 8 bytes: processes share the table of servers");

#endif
