"""The loads: what is asked for, and over how many connections at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KIB = 1024
MIB = 1024 * KIB

#: Bytes of the body that a POST carries.
POSTED = 256

#: Answers from this size on are judged by CPU time per MiB, smaller ones by that per request.
LARGE = MIB


@dataclass(frozen=True)
class Workload:
    """One kind of request, one at a time on each of some keep-alive connections.

    Attributes:
        kind: a GET, a POST of POSTED bytes, or a GET whose answer has no Content-Length.
        body: bytes of the answer's body.
    """

    kind: Literal["GET", "POST", "chunked"]
    body: int
    connections: int

    @property
    def name(self) -> str:
        """What people call it, and `--workloads` takes."""
        what = size(self.body) if self.kind == "GET" else self.kind
        return f"{what}@{self.connections}"

    @property
    def path(self) -> str:
        """What is asked for."""
        return {"GET": f"/{self.body}", "POST": "/post", "chunked": f"/chunked/{self.body}"}[
            self.kind
        ]

    @property
    def unit(self) -> Literal["request", "MiB"]:
        """What its CPU time is divided by."""
        return "MiB" if self.body >= LARGE else "request"


def size(count: int) -> str:
    """Returns a number of bytes as people write it, without a space."""
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if count and count % unit == 0:
            return f"{count // unit}{name}"
    return f"{count}B"


#: What a POST is answered with, and the small answer otherwise.
SMALL = 32

WORKLOADS = {
    workload.name: workload
    for workload in (
        *(Workload("GET", body, count) for body in (SMALL, 16 * KIB) for count in (1, 64, 512)),
        Workload("POST", SMALL, 64),
        Workload("chunked", KIB, 64),
        Workload("GET", MIB, 16),
        Workload("GET", 10 * MIB, 16),
    )
}
