"""Observability: statistics, reports on a terminal or in a file, the access log."""
