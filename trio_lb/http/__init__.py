"""HTTP as it is in every version: heads, what may be forwarded, who the client is, own answers.

Bytes and numbers in, bytes and numbers out: no sockets, no clocks, no logging, no Trio.
"""
