"""Sans-IO HTTP/1.1: heads, the h11 codec, what may be forwarded, and answers of our own.

Bytes and numbers in, bytes and numbers out: no sockets, no clocks, no logging, no Trio.
"""
