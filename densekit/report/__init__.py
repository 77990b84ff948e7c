"""One page about a fitted estimator: ``write_report``. It needs ``densekit[report]``."""

from densekit.report.write import write_report

__all__ = ["write_report"]
