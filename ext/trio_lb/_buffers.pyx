"""Memory for bytes on their way; see _buffers.pxd."""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

from trio_lb._pipes cimport Pipes


cdef enum:
    KEPT_SMALL = 256            # free buffers that are kept: 8 MiB
    KEPT_LARGE = 16             # likewise


@cython.final
@cython.auto_pickle(False)
cdef class Buffers:

    def __cinit__(self):
        self.pipes = Pipes()

    def __dealloc__(self):
        cdef void *block
        while self.free_small is not NULL:
            block = self.free_small
            self.free_small = (<void **> block)[0]
            free(block)
        while self.free_large is not NULL:
            block = self.free_large
            self.free_large = (<void **> block)[0]
            free(block)

    cdef bint borrow(self, Buffer *buffer, size_t size) noexcept nogil:
        cdef void *block
        if size <= SMALL:
            buffer.size = SMALL
            block = self.free_small
            if block is not NULL:
                self.free_small = (<void **> block)[0]
                self.small_count -= 1
        elif self.lent_large == MOST_LARGE:
            return False
        else:
            buffer.size = LARGE
            block = self.free_large
            if block is not NULL:
                self.free_large = (<void **> block)[0]
                self.large_count -= 1
        if block is NULL:
            block = malloc(buffer.size)
            if block is NULL:
                return False
        self.borrowed += 1
        self.lent_large += buffer.size == LARGE
        buffer.data = <char *> block
        buffer.start = buffer.end = 0
        return True

    cdef void give_back(self, Buffer *buffer) noexcept nogil:
        cdef void *block = buffer.data
        if block is NULL:
            return
        self.borrowed -= 1
        self.lent_large -= buffer.size == LARGE
        buffer.data = NULL
        buffer.start = buffer.end = 0
        if buffer.size == SMALL and self.small_count < KEPT_SMALL:
            (<void **> block)[0] = self.free_small
            self.free_small = block
            self.small_count += 1
        elif buffer.size == LARGE and self.large_count < KEPT_LARGE:
            (<void **> block)[0] = self.free_large
            self.free_large = block
            self.large_count += 1
        else:
            free(block)

    cdef bint reserve(self, Buffer *buffer, size_t size) noexcept nogil:
        cdef Buffer larger
        cdef size_t count = held(buffer)
        if buffer.data is NULL:
            return size <= LARGE and self.borrow(buffer, size)
        if buffer.start:
            memmove(buffer.data, buffer.data + buffer.start, count)
            buffer.start = 0
            buffer.end = count
        if buffer.size >= size:
            return True
        if size > LARGE or not self.borrow(&larger, size):
            return False
        memcpy(larger.data, buffer.data, count)
        larger.end = count
        self.give_back(buffer)
        buffer[0] = larger
        return True
