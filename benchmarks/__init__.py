"""Benchmarks: densekit side by side with its peers and with the bare matrix products."""
