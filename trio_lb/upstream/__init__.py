"""Servers: streams to them and who opens these, idle connections, and names that have moved."""
