"""The contract of an estimator that holds an estimator."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, Self

from sklearn.base import BaseEstimator

from densekit.cases import Case
from densekit.estimators.base import DensityEstimator


class MetaEstimator(BaseEstimator, ABC):
    """Base of estimators that hold a density estimator.

    A subclass is a dataclass (``eq=False, repr=False``) whose fields are its parameters, and
    writes `_fit`. `fit` works on a draft: whatever goes wrong, the estimator is as it was.
    """

    save = DensityEstimator.save

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit to the rows of X.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features), or images
        y : array-like, optional
            The condition of each row, where the estimator inside is conditional; otherwise of no
            effect.
        sample_weight : array-like of shape (n_samples,), optional
            A row of weight two counts as two equal rows, one of weight zero not at all.
        """
        draft = copy.copy(self)
        for name in [name for name in vars(draft) if name.endswith("_")]:
            delattr(draft, name)
        draft._fit(X, y, sample_weight)
        self.__dict__ = draft.__dict__
        return self

    @abstractmethod
    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Check parameters, rows, conditions and weights, and set what is fitted."""

    @classmethod
    @abstractmethod
    def example_cases(cls) -> list[Case]:
        """Say how to build examples for the contract kit."""
