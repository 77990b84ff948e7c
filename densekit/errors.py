"""The former name of `densekit.exceptions`."""

import warnings

from densekit.exceptions import *  # noqa: F403

warnings.warn("densekit.errors is called densekit.exceptions now.", FutureWarning, stacklevel=2)
