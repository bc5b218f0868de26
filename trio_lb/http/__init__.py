"""HTTP, the same in every version: heads, admission, forwarding, identity, our own responses.

Bytes and numbers in, bytes and numbers out: no sockets, no clocks, no logging, no Trio.
"""
