"""What is kept of a request that was served: C-level interface."""

# Put a record of the request that is complete where somebody will read it. If that fails, which
# only Python can that is called there, its connection ends with it.
cdef void keep_record(Exchange exchange) noexcept
