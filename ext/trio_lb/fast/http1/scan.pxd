"""Where bytes of one class end, and which word some bytes are: see `http1/scan.h`."""

cdef extern from "http1/scan.h" nogil:
    enum:
        HOST_BYTES "TLB_HOST"
        REQUEST_ID_BYTES "TLB_REQUEST_ID"
    const char *end_of "tlb_end_of"(const char *p, const char *end, unsigned kind) noexcept
    const char *end_of_name "tlb_end_of_name"(const char *p, const char *end) noexcept
    const char *end_of_value "tlb_end_of_value"(const char *p, const char *end) noexcept
    const char *end_of_target "tlb_end_of_target"(const char *p, const char *end) noexcept
    bint same "tlb_is"(const char *p, const char *word, size_t size) noexcept
