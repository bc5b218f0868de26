"""HTTP/1.1 without sockets: heads parsed into offsets, heads written, bodies framed."""

include "http1/fields.pxi"
include "http1/lines.pxi"
include "http1/parser.pxi"
include "http1/response_parser.pxi"
include "http1/writer.pxi"
include "http1/framing.pxi"
include "http1/heads.pxi"
