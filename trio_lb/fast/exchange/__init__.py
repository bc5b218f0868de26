"""The fast path of a request (compiled)."""
