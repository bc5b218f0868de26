"""Interim (1xx) responses, which come before the final one: C-level interface."""

from trio_lb.fast.http1 cimport ParsedResponse, Verdict

cdef enum:
    MOST_INTERIMS = 100         # before one response; see trio_lb.http1.codec


# Send the client one that has come, if it is for it. HEAD: it was dealt with; FALLBACK: the slow
# path has to do it; NEED_MORE: the client has gone meanwhile, and the exchange is over.
cdef Verdict pass_interim_on(Exchange exchange, const ParsedResponse *head) noexcept
