"""The slow path of a request: from a client's bytes to a server's answer, whatever happens.

`connection` serves one client, `forward` finds a server and tries again by rule, `attempt` is
one try with one server, `tunnel` what an Upgrade may lead to; `client` and `upstream` are the two
connections, `body` what lies between.
"""
