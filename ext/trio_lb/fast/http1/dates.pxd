"""Seconds since the epoch as dates: what a calendar and a clock show in UTC."""

from libc.stdint cimport int64_t

cdef extern from *:
    """
    #define TLB_MAYBE __attribute__((unused))
    TLB_MAYBE static const char tlb_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    TLB_MAYBE static const char tlb_weekdays[] = "SunMonTueWedThuFriSat";
    """
    const char *MONTHS "tlb_months"         # three letters each
    const char *WEEKDAYS "tlb_weekdays"

cdef struct Civil:
    int64_t year
    int64_t month               # 0 .. 11
    int64_t day                 # 1 .. 31
    int64_t weekday             # 0 .. 6, from Sunday
    int64_t hour
    int64_t minute
    int64_t second


cdef inline Civil civil(int64_t second) noexcept nogil:
    """What is shown at a second since the beginning of 1970."""
    cdef Civil shown
    cdef int64_t days = second // 86400, left = second - days * 86400
    # Years begin in March here, so that the day that comes and goes is their last one; and they
    # are counted in eras of 400, which repeat.
    cdef int64_t era, year, month, day
    shown.hour = left // 3600
    shown.minute = left // 60 % 60
    shown.second = left % 60
    shown.weekday = (days + 4) % 7              # 1970 began on a Thursday
    days += 719468                              # from 0000-03-01
    era = days // 146097
    day = days - era * 146097
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    shown.day = day - (153 * month + 2) // 5 + 1
    shown.month = month + 2 if month < 10 else month - 10
    shown.year = year + 400 * era + (shown.month < 2)
    return shown
