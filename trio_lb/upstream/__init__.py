"""Servers: streams to them, the connector, idle connections, and changed addresses."""
