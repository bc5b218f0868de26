"""Records of requests that are over, and their lines in an access log (compiled)."""
