"""A plugin whose import fails."""

raise RuntimeError("its own dependency is broken")
