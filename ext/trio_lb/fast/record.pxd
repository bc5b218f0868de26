"""Records of requests that are over, kept as bytes, and written as lines."""

include "record/buffer.pxd"
