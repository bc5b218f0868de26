"""Clients: sessions, streams, PROXY headers, and limits on connections."""
