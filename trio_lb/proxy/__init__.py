"""The slow path of a request: from a client's stream to a server's.

`connection` serves clients, `request` one request; `forward` picks a server and decides about
retries; `attempt` is one attempt on one server; `tunnel` follows an Upgrade; `body` streams and
remembers bodies. The streams are those of `trio_lb.downstream` and `trio_lb.upstream`, for any
version of HTTP.
"""
