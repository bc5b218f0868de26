"""Clients: their sessions and streams, PROXY headers, and how many may come."""
