"""The slow path of a request: from a client's stream to a server's, whatever happens.

`connection` serves clients, `request` one request, `forward` finds a server and tries again by
rule, `attempt` is one try with one server, `tunnel` what an Upgrade may lead to, `body` what lies
between. The streams are those of `trio_lb.downstream` and `trio_lb.upstream`, of whatever version
of HTTP.
"""
