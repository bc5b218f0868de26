"""The shared table, and the selections over it (compiled)."""
