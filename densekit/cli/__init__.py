"""The command line, one file a command. Each imports what it needs when it runs, so that
``densekit --help`` is quick."""

from densekit.cli import (
    anomalies,
    check,
    compare,
    demo,
    fit,
    info,
    plugins,
    report,
    sample,
    score,
)
from densekit.cli.app import app

__all__ = [
    "anomalies",
    "app",
    "check",
    "compare",
    "demo",
    "fit",
    "info",
    "plugins",
    "report",
    "sample",
    "score",
]
