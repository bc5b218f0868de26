"""HTTP/1.1 in bytes: the h11 codec, with the strict gate before it. No I/O."""
