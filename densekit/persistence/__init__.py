"""Saving and loading of estimators, without pickle."""

from densekit.persistence.encoding import Encoder
from densekit.persistence.storage import describe, load, save

__all__ = ["Encoder", "describe", "load", "save"]
