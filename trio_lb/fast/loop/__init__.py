"""Waiting for many sockets, and bytes on their way (compiled)."""
