"""The loads: what is asked for, and over how many connections at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.classes.requests import CLASSES

KIB = 1024
MIB = 1024 * KIB

#: Bytes of the body that a request of some kind carries; others have none.
SENT = {"POST": 256, "upload": MIB, "chunked-upload": MIB}

#: Bodies from this size on are judged by CPU time per MiB, smaller ones by that per request.
LARGE = MIB


@dataclass(frozen=True)
class Workload:
    """One kind of request, one at a time on each of some connections.

    Attributes:
        kind: a GET, a small POST, a GET whose answer has no Content-Length (chunked), a POST that
            the server reads in full (upload), one without Content-Length (chunked-upload), a GET
            that is the only request on its connection (close), or one of `CLASSES`.
        body: bytes of the answer's body.
    """

    kind: str
    body: int
    connections: int

    @property
    def name(self) -> str:
        """What people call it, and `--workloads` takes."""
        what = size(self.body) if self.kind == "GET" else self.kind
        return f"{what}@{self.connections}"

    @property
    def like(self) -> str | None:
        """The name of the plain load that it is compared to, if it is one of `CLASSES`."""
        known = CLASSES.get(self.kind)
        return f"{known.like}@{self.connections}" if known else None

    @property
    def path(self) -> str:
        """What is asked for."""
        if self.sent:
            return "/post" if self.kind == "POST" else "/upload"
        return f"/chunked/{self.body}" if self.kind == "chunked" else f"/{self.body}"

    @property
    def sent(self) -> int:
        """Bytes of the request's body."""
        return SENT.get(self.kind, 0)

    @property
    def unit(self) -> Literal["request", "MiB"]:
        """What its CPU time is divided by."""
        return "MiB" if max(self.body, self.sent) >= LARGE else "request"


def size(count: int) -> str:
    """Returns a number of bytes as people write it, without a space."""
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if count and count % unit == 0:
            return f"{count // unit}{name}"
    return f"{count}B"


#: Bytes of the small answer, which is also that to a body.
SMALL = 32

WORKLOADS = {
    workload.name: workload
    for workload in (
        *(Workload("GET", body, count) for body in (SMALL, 16 * KIB) for count in (1, 64, 512)),
        Workload("POST", SMALL, 64),
        Workload("chunked", KIB, 64),
        Workload("GET", MIB, 16),
        Workload("GET", 10 * MIB, 16),
        Workload("upload", SMALL, 16),
        Workload("chunked-upload", SMALL, 16),
        Workload("close", SMALL, 64),
    )
}

#: Others, that are measured when they are named; all of them as `classes`.
CLASS_LOADS = {
    workload.name: workload for workload in (Workload(kind, SMALL, 64) for kind in CLASSES)
}
