/* Scanning heads: where bytes of one class end, and whether some bytes are a known word.

   Each `tlb_end_of_...` returns the first byte of [p, end) that is not of the class, or `end`. It
   reads nothing at or behind `end`: sixteen bytes at a time while there are sixteen (SSE2, which
   every x86-64 has), then one by one by the table. */

#ifndef TRIO_LB_SCAN_H
#define TRIO_LB_SCAN_H

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    TLB_NAME = 1,       /* of a field, and a method: letters, digits, `-`; not all of RFC 9110's
                           token, but all that names are made of outside of attacks */
    TLB_VALUE = 2,      /* HTAB, SP, VCHAR and obs-text */
    TLB_TARGET = 4,     /* VCHAR without `#` */
    TLB_HOST = 8,       /* letters, digits, `-`, `.`, `_`, `~` */
    TLB_REQUEST_ID = 16 /* letters, digits and ._~+/=:- */
};

static const uint8_t tlb_classes[256] = {
    [0x09] = TLB_VALUE,
    [' '] = TLB_VALUE,
    ['!'] = TLB_VALUE | TLB_TARGET,
    ['"'] = TLB_VALUE | TLB_TARGET,
    ['#'] = TLB_VALUE,
    ['$' ... '*'] = TLB_VALUE | TLB_TARGET,
    ['+'] = TLB_VALUE | TLB_TARGET | TLB_REQUEST_ID,
    [','] = TLB_VALUE | TLB_TARGET,
    ['-'] = TLB_VALUE | TLB_TARGET | TLB_NAME | TLB_HOST | TLB_REQUEST_ID,
    ['.'] = TLB_VALUE | TLB_TARGET | TLB_HOST | TLB_REQUEST_ID,
    ['/'] = TLB_VALUE | TLB_TARGET | TLB_REQUEST_ID,
    ['0' ... '9'] = TLB_VALUE | TLB_TARGET | TLB_NAME | TLB_HOST | TLB_REQUEST_ID,
    [':'] = TLB_VALUE | TLB_TARGET | TLB_REQUEST_ID,
    [';' ... '<'] = TLB_VALUE | TLB_TARGET,
    ['='] = TLB_VALUE | TLB_TARGET | TLB_REQUEST_ID,
    ['>' ... '@'] = TLB_VALUE | TLB_TARGET,
    ['A' ... 'Z'] = TLB_VALUE | TLB_TARGET | TLB_NAME | TLB_HOST | TLB_REQUEST_ID,
    ['[' ... '^'] = TLB_VALUE | TLB_TARGET,
    ['_'] = TLB_VALUE | TLB_TARGET | TLB_HOST | TLB_REQUEST_ID,
    ['`'] = TLB_VALUE | TLB_TARGET,
    ['a' ... 'z'] = TLB_VALUE | TLB_TARGET | TLB_NAME | TLB_HOST | TLB_REQUEST_ID,
    ['{' ... '}'] = TLB_VALUE | TLB_TARGET,
    ['~'] = TLB_VALUE | TLB_TARGET | TLB_HOST | TLB_REQUEST_ID,
    [0x80 ... 0xFF] = TLB_VALUE,
};

static inline const char *tlb_end_of(const char *p, const char *end, unsigned kind) {
    while (p < end && (tlb_classes[(uint8_t) *p] & kind))
        p++;
    return p;
}

#ifdef __SSE2__
#define TLB_ALL(byte) _mm_set1_epi8((char) (byte))

/* Unsigned byte by byte: x <= most, x >= least. */
static inline __m128i tlb_up_to(__m128i x, uint8_t most) {
    return _mm_cmpeq_epi8(_mm_min_epu8(x, TLB_ALL(most)), x);
}
static inline __m128i tlb_from(__m128i x, uint8_t least) {
    return _mm_cmpeq_epi8(_mm_max_epu8(x, TLB_ALL(least)), x);
}

/* Sixteen bytes: bit n is set if byte n is not of the class. */
static inline unsigned tlb_not_name(__m128i x) {
    __m128i letter = tlb_up_to(
        _mm_sub_epi8(_mm_or_si128(x, TLB_ALL(0x20)), TLB_ALL('a')), 'z' - 'a');
    __m128i digit = tlb_up_to(_mm_sub_epi8(x, TLB_ALL('0')), 9);
    __m128i dash = _mm_cmpeq_epi8(x, TLB_ALL('-'));
    return 0xFFFF ^ (unsigned) _mm_movemask_epi8(
        _mm_or_si128(letter, _mm_or_si128(digit, dash)));
}
static inline unsigned tlb_not_value(__m128i x) {
    __m128i control = _mm_andnot_si128(_mm_cmpeq_epi8(x, TLB_ALL('\t')), tlb_up_to(x, 0x1F));
    return (unsigned) _mm_movemask_epi8(
        _mm_or_si128(control, _mm_cmpeq_epi8(x, TLB_ALL(0x7F))));
}
static inline unsigned tlb_not_target(__m128i x) {
    __m128i outside = _mm_or_si128(tlb_up_to(x, 0x20), tlb_from(x, 0x7F));
    return (unsigned) _mm_movemask_epi8(
        _mm_or_si128(outside, _mm_cmpeq_epi8(x, TLB_ALL('#'))));
}
#define TLB_BY_SIXTEEN(p, end, not_of)                                  \
    while ((end) - (p) >= 16) {                                         \
        unsigned found = not_of(_mm_loadu_si128((const __m128i *) (p))); \
        if (found)                                                      \
            return (p) + __builtin_ctz(found);                          \
        (p) += 16;                                                      \
    }
#else
#define TLB_BY_SIXTEEN(p, end, not_of)
#endif

static inline const char *tlb_end_of_name(const char *p, const char *end) {
    TLB_BY_SIXTEEN(p, end, tlb_not_name)
    return tlb_end_of(p, end, TLB_NAME);
}
static inline const char *tlb_end_of_value(const char *p, const char *end) {
    TLB_BY_SIXTEEN(p, end, tlb_not_value)
    return tlb_end_of(p, end, TLB_VALUE);
}
static inline const char *tlb_end_of_target(const char *p, const char *end) {
    TLB_BY_SIXTEEN(p, end, tlb_not_target)
    return tlb_end_of(p, end, TLB_TARGET);
}

/* The `size` bytes at `p` in lower case are `word`: letters, digits and dashes, 2 to 32 of them. Only for
   bytes without controls: bit 0x20 makes lower case of upper, and would make a dash of CR. With a
   constant word it is a load and a comparison for every eight bytes; the last ones overlap. */
#define TLB_SAME(name, type)                                            \
    static inline int name(const char *p, const char *word) {           \
        type a, b;                                                      \
        memcpy(&a, p, sizeof(type));                                    \
        memcpy(&b, word, sizeof(type));                                 \
        return (type) (a | (type) 0x2020202020202020ULL) == b;          \
    }
TLB_SAME(tlb_same2, uint16_t)
TLB_SAME(tlb_same4, uint32_t)
TLB_SAME(tlb_same8, uint64_t)

static inline int tlb_is(const char *p, const char *word, size_t size) {
    if (size >= 8)
        return tlb_same8(p, word) && (size <= 16 || tlb_same8(p + 8, word + 8))
            && (size <= 24 || tlb_same8(p + 16, word + 16))
            && tlb_same8(p + size - 8, word + size - 8);
    if (size >= 4)
        return tlb_same4(p, word) && tlb_same4(p + size - 4, word + size - 4);
    return tlb_same2(p, word) && tlb_same2(p + size - 2, word + size - 2);
}

#endif
