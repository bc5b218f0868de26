"""The compiled half; see docs/architecture.md, and ext/trio_lb/fast for its sources."""
