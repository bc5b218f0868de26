"""Memory for bytes on their way; see buffers.pxd."""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove


@cython.final
@cython.auto_pickle(False)
cdef class Buffers:

    def __cinit__(self):
        self.pipes = Pipes()

    def __dealloc__(self):
        cdef int number
        for number in range(self.small_count):
            free(self.free_small[number])
        for number in range(self.large_count):
            free(self.free_large[number])

    cdef bint borrow(self, Buffer *buffer, size_t size) noexcept nogil:
        cdef char *block = NULL
        if size <= SMALL:
            buffer.size = SMALL
            if self.small_count:
                self.small_count -= 1
                block = self.free_small[self.small_count]
        elif self.lent_large == MOST_LARGE:
            return False
        else:
            buffer.size = LARGE
            if self.large_count:
                self.large_count -= 1
                block = self.free_large[self.large_count]
        if block is NULL:
            block = <char *> malloc(buffer.size)
            if block is NULL:
                return False
        self.borrowed += 1
        self.lent_large += buffer.size == LARGE
        buffer.data = block
        buffer.start = buffer.end = 0
        return True

    cdef void give_back(self, Buffer *buffer) noexcept nogil:
        cdef char *block = buffer.data
        if block is NULL:
            return
        self.borrowed -= 1
        self.lent_large -= buffer.size == LARGE
        buffer.data = NULL
        buffer.start = buffer.end = 0
        if buffer.size == SMALL and self.small_count < KEPT_SMALL:
            self.free_small[self.small_count] = block
            self.small_count += 1
        elif buffer.size == LARGE and self.large_count < KEPT_LARGE:
            self.free_large[self.large_count] = block
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
