"""The head codec and body framing of the fast path (compiled)."""
