/* Printable ASCII but quotes and backslashes: what stays as it is in a line of an access log. */

#ifndef TRIO_LB_PLAIN_H
#define TRIO_LB_PLAIN_H

#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline int tlb_is_plain(uint8_t byte) {
    return byte >= 32 && byte < 127 && byte != '"' && byte != '\\';
}

/* Copy what is plain at the beginning of text[:size]; returns how many bytes that is. Reads and
   writes nothing at or behind `size`. */
static inline size_t tlb_copy_plain(char *out, const char *text, size_t size) {
    size_t done = 0;
#ifdef __SSE2__
    for (; size - done >= 16; done += 16) {
        __m128i some = _mm_loadu_si128((const __m128i *) (text + done));
        __m128i other = _mm_or_si128(
            _mm_or_si128(
                _mm_cmplt_epi8(some, _mm_set1_epi8(32)), _mm_cmpeq_epi8(some, _mm_set1_epi8(127))),
            _mm_or_si128(
                _mm_cmpeq_epi8(some, _mm_set1_epi8('"')),
                _mm_cmpeq_epi8(some, _mm_set1_epi8('\\'))));
        unsigned found = (unsigned) _mm_movemask_epi8(other);
        _mm_storeu_si128((__m128i *) (out + done), some);
        if (found)
            return done + (size_t) __builtin_ctz(found);
    }
#endif
    for (; done < size && tlb_is_plain((uint8_t) text[done]); done++)
        out[done] = text[done];
    return done;
}

#endif
