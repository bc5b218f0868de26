"""Heads, byte for byte, before h11 sees them.

h11 is lenient where a gateway may not be: it takes bare line feeds for line ends, joins folded
lines and lets most control characters pass, and what it returns no longer shows them. So a head
is collected here until it is whole or too large, is held against the grammar of RFC 9112 in one
match of a compiled expression, and only then goes on to h11. What is found does not depend on how
the bytes were split on their way.

Requests come from strangers and are held to the letter. Responses come from servers of our own:
what RFC 9112 lets a recipient repair is left to h11 to repair.
"""

from __future__ import annotations

import re

from trio_lb.errors import ClientError, ResponseBroken
from trio_lb.http.framing import NO_BODY, Framing, request_framing, response_framing

_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_NAME = _TCHAR + rb"++:"
_TEXT = rb"[\t -~\x80-\xff]*+"

#: Field lines and the empty line behind them.
FIELDS = re.compile(rb"(?:" + _NAME + _TEXT + rb"\r\n)*+\r\n")

_REQUEST_LINE = re.compile(rb"(" + _TCHAR + rb"{1,64}+) ([!-~]++) HTTP/([1-9]\.[0-9])\r\n")
_REQUEST = re.compile(_REQUEST_LINE.pattern + FIELDS.pattern)

# The fields that say where a body ends, in a head that has matched.
_FRAMING = re.compile(
    rb"\n(?:(content-length)|transfer-encoding):[ \t]*+([^\r\n]*+)", re.IGNORECASE
)

#: What can't be in any head, as far as it has come.
_FORBIDDEN = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

_RESPONSE = re.compile(
    rb"HTTP/(1\.[01]) ([1-5][0-9]{2})(?: (" + _TEXT + rb"))?\r?+\n"
    rb"(?:" + _NAME + _TEXT + rb"\r?+\n(?:[ \t]" + _TEXT + rb"\r?+\n)*+)*+"
    rb"\r?+\n"
)  # fmt: skip
_RESPONSE_BEGINS = b"HTTP/1."
_EMPTY_LINE = re.compile(rb"\n\r?\n")


class Violation(Exception):  # noqa: N818 -- whose error it is, the codec knows
    """The peer broke the protocol.

    Attributes:
        reason: what is wrong; never contains what the peer sent.
        status: of the answer, where the peer is a client.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class TooLarge(Violation):
    """The end of a section is not within its limit."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, 431)


class Section:
    """Lines up to an empty one, collected without looking at their bytes again and again.

    Args:
        limit: bytes, the empty line included.
    """

    __slots__ = ("_limit", "_seen")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen = 0

    def end(self, data: bytes) -> int:
        """The length of the section that `data` begins with; 0 while its end has not come.

        Raises:
            Violation: whatever comes next, it is malformed.
            TooLarge: its end is not within the limit.
        """
        end = data.find(b"\r\n\r\n", self._seen, self._limit)
        if end >= 0:
            self._seen = 0
            return end + 4
        if _FORBIDDEN.search(data, self._seen, self._limit):
            raise Violation("a line break or control character where none may be")
        if len(data) >= self._limit:
            raise TooLarge("the fields are too large")
        self._seen = max(0, len(data) - 3)
        return 0


class RequestGate:
    """Lets the heads of a client's requests pass, one after the other.

    Args:
        head_limit: bytes of a head, request line included.
        target_limit: bytes of a request target.
        field_limit: number of field lines.

    Attributes:
        method, target, version: of the latest head, as soon as they are known; empty before that.
        framing: where the body behind it ends.
    """

    __slots__ = (
        "_field_limit", "_head_limit", "_line_checked", "_section", "_skipped", "_target_limit",
        "framing", "method", "target", "version",
    )  # fmt: skip

    def __init__(self, head_limit: int, target_limit: int, field_limit: int) -> None:
        self._head_limit = head_limit
        self._target_limit = target_limit
        self._field_limit = field_limit
        self._section = Section(head_limit)
        self.framing: Framing = NO_BODY
        self.reset()

    def reset(self) -> None:
        """Make ready for the next request."""
        self._skipped = self._line_checked = False
        self.method = self.target = self.version = b""

    def skip(self, data: bytes) -> bytes:
        """Leave out the one empty line that may precede a request (RFC 9112 section 2.2)."""
        if not self._skipped and data.startswith(b"\r\n"):
            self._skipped = True
            return data[2:]
        return data

    def end(self, data: bytes) -> int:
        """The length of the head that `data` begins with; 0 while it is not complete.

        Raises:
            ClientError: malformed (400), too large (414, 431), an unknown coding (501) or
                version (505).
        """
        try:
            end = self._section.end(data)
        except TooLarge:
            self._check_first_line(data)
            raise self._too_large(data) from None
        except Violation as exc:
            raise ClientError(exc.reason) from exc
        if not end:
            self._check_first_line(data)
            return 0
        head = _REQUEST.fullmatch(data, 0, end)
        if head is None:
            raise ClientError("the request is malformed")
        self.method, self.target, self.version = head.groups()
        if self.version not in (b"1.1", b"1.0"):
            raise ClientError("only HTTP/1.1 and HTTP/1.0 are supported", 505)
        if len(self.target) > self._target_limit:
            raise ClientError("the request target is too long", 414)
        if data.count(b"\n", 0, end) - 2 > self._field_limit:
            raise ClientError("the request has too many header fields", 431)
        self.framing = NO_BODY
        if framing := _FRAMING.findall(data, 0, end):
            self.framing = request_framing(self.version, *_sorted(framing))
        return end

    def _check_first_line(self, data: bytes) -> None:
        """Who speaks something else may wait for an answer and never send an empty line."""
        if not self._line_checked and (end := data.find(b"\r\n", 0, self._head_limit)) >= 0:
            self._line_checked = True
            if not _REQUEST_LINE.fullmatch(data, 0, end + 2):
                raise ClientError("the request is malformed")

    def _too_large(self, data: bytes) -> ClientError:
        line = _REQUEST_LINE.match(data, 0, self._head_limit)
        if line is None or len(line[2]) > self._target_limit:
            return ClientError("the request target is too long", 414)
        return ClientError("the request head is too large", 431)


class ResponseGate:
    """Lets the heads of a server's responses pass, interim ones and the final one.

    Args:
        head_limit: bytes of a head.
        field_limit: number of field lines.

    Attributes:
        method: of the request; to be set before the head comes.
        status, reason, version: of the latest head.
        framing: of the body behind the latest head.
    """

    __slots__ = (
        "_field_limit", "_head_limit", "_seen", "framing", "method", "reason", "status", "version",
    )  # fmt: skip

    def __init__(self, head_limit: int, field_limit: int) -> None:
        self._head_limit = head_limit
        self._field_limit = field_limit
        self._seen = 0
        self.method = self.reason = self.version = b""
        self.status = 0
        self.framing: Framing = NO_BODY

    def end(self, data: bytes) -> int:
        """The length of the head that `data` begins with; 0 while it is not complete.

        Raises:
            ResponseBroken: it is malformed or too large, or the end of its body can't be told.
        """
        empty_line = _EMPTY_LINE.search(data, self._seen, self._head_limit)
        if empty_line is None:
            if not data.startswith(_RESPONSE_BEGINS[: len(data)]):
                raise ResponseBroken("the server's response is not HTTP/1")
            if len(data) >= self._head_limit:
                raise ResponseBroken("the server's response head is too large")
            self._seen = max(0, len(data) - 2)
            return 0
        self._seen = 0
        end = empty_line.end()
        head = _RESPONSE.fullmatch(data, 0, end)
        if head is None:
            raise ResponseBroken("the server sent a malformed response")
        if data.count(b"\n", 0, end) - 2 > self._field_limit:
            raise ResponseBroken("the server's response has too many header fields")
        lengths, codings = _sorted(_FRAMING.findall(data, 0, end))
        self.version, status, reason = head.groups()
        self.status, self.reason = int(status), reason or b""
        self.framing = response_framing(self.method, self.status, self.version, lengths, codings)
        return end


def _sorted(framing: list[tuple[bytes, bytes]]) -> tuple[list[bytes], list[bytes]]:
    """The lengths and the codings among what `_FRAMING` found."""
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for is_length, value in framing:
        (lengths if is_length else codings).append(value.rstrip(b" \t"))
    return lengths, codings
