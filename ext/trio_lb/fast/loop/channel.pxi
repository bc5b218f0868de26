"""What a connection's bytes go through; see channel.pxd."""

cimport cython


@cython.auto_pickle(False)
cdef class Wire:
    """Base of whatever is between a connection and its socket."""
