"""Bytes in and out under Trio: transports, names, dialling, listening, deadlines."""
