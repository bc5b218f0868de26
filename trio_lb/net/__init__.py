"""Bytes in and out under Trio: transports, dialling, listening, pooled upstream connections."""
