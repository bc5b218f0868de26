"""What a profile says, once it has been read: the schema, as msgspec Structs.

This is the single source: reading (`reading`), writing (`dump`) and the JSON Schema (`schema`) all
walk these classes. Times are float seconds and sizes are bytes; the `Leaf` in a type says how they
are written in a file.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from trio_lb.config.address import LISTEN_ADDRESS, SERVER_ADDRESS
from trio_lb.config.algorithm import ALGORITHM
from trio_lb.config.kinds import NO_KEY
from trio_lb.config.owners import GROUP, MODE, OWNER
from trio_lb.config.pages import PAGE_FILE
from trio_lb.config.proxies import FORWARDED_FIELD, TRUSTED_NETWORK
from trio_lb.config.units import (
    DURATION,
    DURATION_OR_ZERO,
    FRACTION,
    SIZE,
    SIZE_OR_ZERO,
    STATUSES,
    SWITCH,
)
from trio_lb.config.values import (
    ERROR_STATUS,
    FIELD_NAME,
    FIELD_VALUE,
    HOST,
    LOG_FILE,
    METHOD,
    NAME,
    PATH,
    PID_FILE,
    USER,
    WORKERS,
)
from trio_lb.plan import Address, Algorithm, ForwardedField, TrustedNetwork

Duration: TypeAlias = Annotated[float, DURATION]
DurationOrZero: TypeAlias = Annotated[float, DURATION_OR_ZERO]
Size: TypeAlias = Annotated[int, SIZE]
SizeOrZero: TypeAlias = Annotated[int, SIZE_OR_ZERO]
Switch: TypeAlias = Annotated[bool, SWITCH]


class Listen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address where clients connect."""

    address: Annotated[
        Address,
        LISTEN_ADDRESS,
        Meta(
            description="http://*:8000 takes every interface, port 0 any free port, unix:/path a "
            "unix socket."
        ),
    ] = field(name="url")
    proxy_protocol: Annotated[
        Switch,
        Meta(
            description="Connections begin with a PROXY header (version 1 or 2) and come from "
            "trusted_proxies only."
        ),
    ] = False
    owner: Annotated[
        Annotated[str, OWNER] | None,
        Meta(
            description="Whose a unix socket is, a name or a number; off means ours, or `user`'s."
        ),
    ] = None
    group: Annotated[
        Annotated[str, GROUP] | None,
        Meta(
            description="The group of a unix socket, a name or a number; off means the owner's own."
        ),
    ] = None
    mode: Annotated[
        Annotated[int, MODE] | None,
        Meta(
            description='Who may connect to a unix socket, as in "0666"; off means "0660", the '
            "owner and the group."
        ),
    ] = None


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server that requests are passed on to."""

    address: Annotated[
        Address,
        SERVER_ADDRESS,
        Meta(
            description="Where the server is: http://host:port, with a path if requests are to "
            "go below it, or unix:/path of its socket."
        ),
    ] = field(name="url")
    weight: Annotated[
        int,
        Meta(ge=1, le=65535, description="Its share relative to the others (weighted_*)."),
    ] = 1
    max_connections: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Requests it may have at one time; 0 means any number.",
        ),
    ] = 0
    send_proxy: Annotated[
        Literal["v1", "v2"] | None,
        Meta(
            description="Begin connections to it with a PROXY header of this version that says who "
            "the client is, or off."
        ),
    ] = None
    name: Annotated[
        str, NAME, Meta(description="Its name in logs and reports; its address if not given.")
    ] = ""

    def __post_init__(self) -> None:
        if not self.name:
            force_setattr(self, "name", str(self.address))


class Timeouts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long each step may take, beside the `timeout` of a response."""

    connect: Annotated[Duration, Meta(description="Until a connection to a server is made.")] = 2.0
    client_head: Annotated[
        Duration, Meta(description="Until a client has sent the whole head of its request.")
    ] = 10.0
    body: Annotated[
        Duration,
        Meta(
            description="Without any progress of a body, in either direction, on either side; for "
            "a client, also how long it may be slower than `limits.min_rate`."
        ),
    ] = 30.0
    keep_alive: Annotated[
        DurationOrZero,
        Meta(description="How long a client's idle connection is kept; 0 closes it at once."),
    ] = 60.0
    half_closed: Annotated[
        Duration,
        Meta(
            description="How long a server may say nothing while its client, which has sent its "
            "last byte (FIN), might read on; after that the client is taken to have left."
        ),
    ] = 1.0
    tunnel: Annotated[
        Duration,
        Meta(description="Without a byte in either direction of a tunnel (WebSocket, Upgrade)."),
    ] = 3600.0
    tunnel_half_closed: Annotated[
        Duration,
        Meta(description="The same when one side of the tunnel has ended, and the other has not."),
    ] = 30.0
    drain: Annotated[
        DurationOrZero,
        Meta(description="How long requests in flight may take to finish when we are stopped."),
    ] = 30.0


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a client may ask for, and how slowly."""

    head: Annotated[Size, Meta(description="Request line and headers together.")] = 16 * 1024
    headers: Annotated[int, Meta(ge=1, le=10_000, description="Number of headers.")] = 100
    target: Annotated[Size, Meta(description="The request's target (path and query).")] = 8 * 1024
    body: Annotated[
        SizeOrZero | None, Meta(description="The request's body; off means any size.")
    ] = None
    min_rate: Annotated[
        Size | None,
        Meta(
            description="Bytes per second at which a client sends or takes a body at least, "
            "counting only the time in which it is waited for; off means at any rate."
        ),
    ] = 240
    clients: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)] | None,
        Meta(
            description="Client connections at one time, over all workers; off means as many as "
            "each worker has file descriptors for."
        ),
    ] = None
    clients_per_address: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)] | None,
        Meta(
            description="Client connections at one time from one IPv4 address or one /64 network "
            "of IPv6, over all workers; off means any number."
        ),
    ] = None
    requests_per_connection: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000_000)] | None,
        Meta(description="After so many a client's connection is closed; off means never."),
    ] = None


class Upstream(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Connections to servers that are kept for the next request."""

    idle_connections: Annotated[
        int, Meta(ge=0, le=65535, description="How many idle ones are kept for each server.")
    ] = 64
    idle_timeout: Annotated[
        DurationOrZero,
        Meta(
            description="How long an idle one is kept. Should be shorter than the servers' own "
            "(5 s in uvicorn and Node.js), so that none is closed just when it is used."
        ),
    ] = 4.0
    max_age: Annotated[
        Duration | None,
        Meta(
            description="How long one is kept at all, however busy: then requests reach the "
            "addresses that the server's name has by now. off means for ever."
        ),
    ] = 600.0


class HealthCheck(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How servers are health-checked."""

    interval: Annotated[Duration, Meta(description="Between two checks of a server.")] = 10.0
    timeout: Annotated[
        Duration,
        Meta(
            description="Until a check counts as failed; never longer than the interval, which "
            "takes its place if it is shorter."
        ),
    ] = 5.0
    method: Annotated[str, METHOD, Meta(description="How it is asked: GET, HEAD or OPTIONS.")] = (
        "GET"
    )
    path: Annotated[str, PATH, Meta(description="What is asked for; / if not given.")] = ""
    host: Annotated[
        Annotated[str, HOST] | None,
        Meta(description="Host field of the check; off means the server's own address."),
    ] = None
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="Port that is asked; off means the server's own."),
    ] = None
    headers: Annotated[
        dict[Annotated[str, FIELD_NAME], Annotated[str, FIELD_VALUE]],
        Meta(description="Further fields of the check, as in {Authorization: Bearer ...}."),
    ] = {}
    statuses: Annotated[
        tuple[Annotated[range, STATUSES], ...],
        Meta(
            description="Statuses that are healthy: 204, 200-399, or a list of such. If not given, "
            "200-399 of a path that is given, and else all below 500."
        ),
    ] = ()
    rise: Annotated[
        int,
        Meta(
            ge=1, le=1000, description="Passed checks in a row after which a server is marked up."
        ),
    ] = 1
    fall: Annotated[
        int,
        Meta(
            ge=1, le=1000, description="Failed checks in a row after which a server is marked down."
        ),
    ] = 1
    jitter: Annotated[
        float,
        FRACTION,
        Meta(description="Share of the interval by which each one is varied at random."),
    ] = 0.1
    enabled: Annotated[
        Switch, Meta(description="off: no checks; `health_check: off` is short for it.")
    ] = True

    def __post_init__(self) -> None:
        if self.timeout > self.interval:
            force_setattr(self, "timeout", self.interval)
        if not self.statuses:  # an application without a page at / is healthy all the same
            force_setattr(self, "statuses", (range(200, 400 if self.path else 500),))
        if not self.path:
            force_setattr(self, "path", "/")

    def accepts(self, status: int) -> bool:
        """Whether an answer with this status means that the server is healthy."""
        return any(status in statuses for statuses in self.statuses)


LogLevel: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A load balancer: where it listens, its servers, and how it treats them."""

    listen: Annotated[
        tuple[Listen, ...],
        Meta(description="Where clients connect: one address or a list, or mappings with more."),
    ] = (Listen(address=Address(host="127.0.0.1", port=8000)),)
    servers: Annotated[
        tuple[Server, ...],
        Meta(description="The servers, each a URL or a mapping; at least one."),
    ]
    algorithm: Annotated[
        Algorithm, ALGORITHM, Meta(description="How a server is chosen for a request.")
    ] = Algorithm.ROUND_ROBIN
    timeout: Annotated[
        Duration,
        Meta(description="From the request being sent to the first byte of the response."),
    ] = 10.0
    timeouts: Annotated[Timeouts, Meta(description="How long the other steps may take.")] = (
        Timeouts()
    )
    limits: Annotated[
        Limits, Meta(description="How much a client may ask for, and how slowly.")
    ] = Limits()
    retries: Annotated[
        int,
        Meta(ge=0, le=100, description="How many other servers are tried after a failure."),
    ] = 2
    replay_body: Annotated[
        SizeOrZero,
        Meta(description="Request bodies up to this size are kept, so that they can be retried."),
    ] = 64 * 1024
    upstream: Annotated[Upstream, Meta(description="Connections kept to the servers.")] = Upstream()
    health_check: Annotated[HealthCheck, Meta(description="How servers are checked, or off.")] = (
        HealthCheck()
    )
    fast_path: Annotated[
        Switch,
        Meta(
            description="Whether compiled code serves ordinary requests (on), or Python and h11 "
            "every request (off)."
        ),
    ] = True
    workers: Annotated[
        int | Literal["auto"],
        WORKERS,
        Meta(description="Worker processes; auto is one for each CPU that trio-lb may use."),
    ] = "auto"
    pid_file: Annotated[
        Annotated[str, PID_FILE] | None,
        Meta(
            description="File for the number of the process, by which `trio-lb reload` and "
            "`trio-lb stop` find it; off means one in the runtime directory."
        ),
    ] = None
    user: Annotated[
        Annotated[str, USER] | None,
        Meta(
            description="NAME or NAME:GROUP, which a trio-lb that root has started goes on as "
            "when its sockets are open, or off."
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[Annotated[TrustedNetwork, TRUSTED_NETWORK], ...] | None,
        Meta(
            description="Networks of the proxies whose X-Forwarded-..., Forwarded and PROXY "
            "headers are believed; unix for all who come by unix sockets; or off."
        ),
    ] = None
    forwarded: Annotated[
        ForwardedField,
        FORWARDED_FIELD,
        Meta(
            description="Whether servers get the Forwarded field: beside X-Forwarded-... (on), in "
            "their place (only), or off."
        ),
    ] = ForwardedField.OFF
    unavailable_status: Annotated[
        int, Meta(ge=400, le=599, description="Answered when no server can take a request.")
    ] = 503
    error_pages: Annotated[
        dict[Annotated[int, ERROR_STATUS], Annotated[str, PAGE_FILE]],
        Meta(
            description="Files (.html, .txt or .json) that are sent in place of the short text "
            "with a status that trio-lb itself answers, as in {503: down.html}."
        ),
    ] = {}
    access_log: Annotated[
        Annotated[str, LOG_FILE] | None,
        Meta(description='File for one line per request, "-" for standard output, or off.'),
    ] = None
    access_log_format: Annotated[
        Literal["combined", "json"], Meta(description="Form of these lines.")
    ] = "combined"
    report_interval: Annotated[Duration, Meta(description="Between two rounds of the report.")] = (
        10.0
    )
    log_level: Annotated[
        LogLevel, Meta(description="The least serious messages that are logged.")
    ] = "info"
    from_environment: Annotated[dict[str, str], NO_KEY] = {}
    """Values that came from the environment, as they are written, by their paths."""

    def shown(self, path: str) -> str:
        """The value at a path such as `health_check.path`, as people may be shown it."""
        return self.from_environment.get(path) or str(attrgetter(path)(self))


SHORT_FORMS: Final[dict[type, str]] = {
    Listen: "address",
    Server: "address",
    HealthCheck: "enabled",
}
"""Structs that may be written as one scalar, and the field which that scalar is."""
