"""Connections of clients: what is decided before their first request."""
