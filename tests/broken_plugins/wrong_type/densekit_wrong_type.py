"""A plugin that registers what its groups do not expect."""


class NotAMap:
    """No subclass of Elementwise."""


def a_function():
    """No class at all."""
