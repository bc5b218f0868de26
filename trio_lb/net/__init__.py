"""Bytes under Trio: transports, name resolution, dialling, listening, deadlines."""
