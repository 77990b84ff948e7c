"""A plugin that claims a name of densekit itself."""

from densekit.elementwise import Shift


class OtherAffine(Shift):
    """Another map under a name that is taken."""
