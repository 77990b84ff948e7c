"""Saving and loading of estimators, without pickle."""

from densekit.persistence.storage import Savable, describe, load, save

__all__ = ["Savable", "describe", "load", "save"]
