"""Connections to servers: those that are idle, and names that have moved."""
