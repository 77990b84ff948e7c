"""The public door: what every density estimator does the same way."""

from __future__ import annotations

import copy
import warnings
from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import (
    check_is_fitted,
    check_scalar,
)
from torch import Tensor

from densekit.data import seeds
from densekit.data.cells import validate
from densekit.data.context import (
    Labels,
    check_condition,
    check_names,
    read_condition,
    shortened,
)
from densekit.data.frames import as_numbers
from densekit.data.rows import check_weight, in_chunks, to_tensor
from densekit.errors import ConditionWarning, ContextError, RepeatedValuesWarning
from densekit.estimators.documentation import fill_in_shared_parameters
from densekit.estimators.parameters import (
    boolean,
    either,
    integer,
    number,
    one_of,
    parameter,
)
from densekit.estimators.trained import LEARNING_RATE, TrainedDensity
from densekit.training import OPTIMIZERS
from densekit.training.trials import still_gains

if TYPE_CHECKING:
    from densekit.testing.cases import EstimatorCase

MOST_COLUMNS_SHOWN = 5  # in a warning
Draw = Callable[[int, Tensor | None, torch.Generator], Tensor]


@dataclass(kw_only=True, eq=False, repr=False)
class DensityEstimator(TrainedDensity, DensityMixin, BaseEstimator, ABC):
    """Base of all estimators: everything but the density itself.

    A subclass is a dataclass (``kw_only=True, eq=False, repr=False``) whose fields are its
    parameters, or has an ordinary ``__init__`` that only stores them. It builds its density in
    `_build_density`; the rest, from checks to training, happens here.

    Parameters
    ----------
    {shared_parameters}
    """

    support: Any = parameter("real")
    gaussianize: bool = parameter(True, boolean)
    conditional: bool = parameter(False, boolean)
    condition_type: str = parameter("auto", one_of("auto", "labels", "numbers"))
    max_epochs: int | str = parameter(500, integer(1))  # images know "auto", here and below
    batch_size: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    learning_rate: float | str = parameter(LEARNING_RATE, number(0.0))
    schedule: str = parameter("auto", one_of("auto", "plateau", "linear"))
    optimizer: str = parameter("auto", one_of("auto", *OPTIMIZERS))
    validation_fraction: float = parameter(0.1, number(0.0, 1.0, including_low=True))
    n_iter_no_change: int = parameter(20, integer(1))
    tol: float = parameter(1e-4, number(0.0, including_low=True))
    noise: float | str = parameter("auto", either(one_of("auto"), number(0.0, including_low=True)))
    device: str = parameter("auto")
    dtype: str = parameter("auto", one_of("auto", "float32", "float64"))
    warm_start: bool = parameter(False, boolean)
    random_state: Any = parameter(None)
    verbose: int = parameter(0, integer(0))

    _not_built_with = frozenset(
        {
            *("support", "condition_type", "max_epochs", "batch_size", "schedule", "optimizer"),
            *("n_iter_no_change", "random_state", "verbose"),
        }
    )

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        fill_in_shared_parameters(cls)

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        checkpoint: str | PathLike[str] | None = None,
    ) -> Self:
        """Fit the density to the rows of X.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features)
            Finite numbers.
        y : array-like, optional
            With ``conditional=True`` what the density is conditioned on: class labels (1-D) or
            numbers (2-D). Ignored otherwise.
        sample_weight : array-like of shape (n_samples,), optional
            A row of weight two counts as two equal rows, one of weight zero not at all.
        checkpoint : str or path-like, optional
            File that training writes every three minutes, and removes when it is done. The same
            call finds it after a kill and goes on from there, to the same result, bit for bit on a
            CPU. After an interrupt it stays.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            X, y, the weights or a parameter is not what it should be. Nothing is changed then:
            an estimator that was fitted before stays as it was.
        DivergenceError
            Training met non-finite losses again after every remedy; the message names the epoch.
        CheckpointError
            A ValueError: the checkpoint belongs to another fit, with other data or parameters.

        Warns
        -----
        RepeatedValuesWarning
            Values repeat, so that log-densities are no measure; `repeated_values_` has them.
        ConvergenceWarning
            scikit-learn's: `max_epochs` ended training that still gained.
        """
        self._fit_in_place(X, y, sample_weight, checkpoint)
        self._warn_of_fit()
        return self

    def _fit_in_place(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        checkpoint: str | PathLike[str] | None = None,
    ) -> None:
        """`fit` without its warnings of how far the result is to be trusted."""
        # All work is done on a draft, so that whatever goes wrong leaves this object untouched.
        draft = copy.copy(self)
        if not self._is_warm():
            for name in [name for name in vars(draft) if name.endswith("_")]:
                delattr(draft, name)
        kept = draft._fit(X, y, sample_weight, checkpoint)
        self.__dict__ = draft.__dict__
        if kept is not None and not self.history_.interrupted:
            kept.remove()

    def _warn_of_fit(self) -> None:
        who, history = type(self).__name__, self.history_
        if self.repeated_values_:
            shown = [
                f"{name!r} ({value:g} in {100 * share:.2g} % of the rows)"
                for name, (value, share) in list(self.repeated_values_.items())[:MOST_COLUMNS_SHOWN]
            ]
            more = len(self.repeated_values_) - len(shown)
            names = ", ".join(shown) + (f" and {more} more" if more else "")
            warnings.warn(
                f"{who}: values repeat in {names}. A density of values that repeat can be as large "
                "as one likes, so these nats are no measure: compare none of them, with nothing. "
                "Samples and ranks of rows keep their meaning.",
                RepeatedValuesWarning,
                stacklevel=3,
            )
        max_epochs = self._max_epochs()
        is_cut_short = self._schedule() == "plateau" and not history.interrupted
        if is_cut_short and still_gains(history, max_epochs, self.n_iter_no_change):
            warnings.warn(
                f"{who}: max_epochs={max_epochs} ended training that still gained; more may fit "
                "better.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def score_samples(self, X: Any, y: Any = None) -> NDArray[np.float64]:
        """Log-density (log-mass for discrete data) of each row, in nats and in the units of X.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features)
        y : array-like, optional
            With ``conditional=True`` the condition of each row. Without it the score is the exact
            marginal over class labels, ``logsumexp_y [log p(x | y) + log p(y)]``. A label that was
            not in `fit` says nothing of its row, whose score is the marginal, too, with a warning:
            a fold of cross-validation may well lack a rare label.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Minus infinity for a row outside the support.

        Raises
        ------
        ContextError
            A ValueError: the density is conditioned on numbers and there is no `y`.
        """
        rows = self._rows(X)
        if not self.conditional:
            return self._evaluate(self.density_.log_prob, rows).numpy()
        if y is None:
            return self._joint(rows, "score_samples").logsumexp(1).numpy()
        values = self._check_condition(y, len(rows))
        is_new = self._is_new_label(values)
        if not is_new.any():
            return self._evaluate(
                self.density_.log_prob, rows, self._encode(values, len(rows))
            ).numpy()
        scores = np.empty(len(rows))
        scores[is_new] = self._joint(rows[is_new], "score_samples").logsumexp(1).numpy()
        if not is_new.all():
            known = rows[~is_new]
            given = self._encode(values[~is_new], len(known))
            scores[~is_new] = self._evaluate(self.density_.log_prob, known, given).numpy()
        return scores

    def class_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Log-probability of each class given each row, by Bayes' rule.

        ``log p(y | x) = log p(x | y) + log p(y) - log p(x)``, with the classes' shares of the
        training data as p(y). Needs ``conditional=True`` and labels as the `y` of `fit`.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            In the order of `classes_`, in nats.

        Raises
        ------
        ContextError
            A ValueError: the density is not conditioned on labels.
        """
        return self._joint(self._rows(X), "class_log_proba").log_softmax(1).numpy()

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean of `score_samples` in nats, weighted by `sample_weight`; higher is better."""
        scores = self.score_samples(X, y)
        weight = check_weight(sample_weight, len(scores), least=1, who=type(self).__name__)
        return float(np.average(scores, weights=weight))

    def sample(
        self,
        n_samples: int = 1,
        random_state: Any = None,
        *,
        y: Any = None,
        return_y: bool = False,
        round: bool = False,
    ) -> Any:
        """Draw new rows.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState or None, default=None
            None draws other rows at every call.
        y : label or array-like, optional
            With ``conditional=True`` the condition: one for all rows, or one for each row, and
            with ``n_samples=1`` there are as many rows as conditions. Without it, labels are drawn
            by their frequency in the training data.
        return_y : bool, default=False
            Whether to return the condition of each row as well, such as the labels that were drawn.
        round : bool, default=False
            Whether columns that were whole numbers or booleans in `fit` come back as such, rounded.
            By default they come back as the fractions that a density of real numbers draws.

        Returns
        -------
        rows : array or data frame of shape (n_samples, n_features)
            In the container and the units of the X that was fitted, inside the support.
        y : ndarray
            Only with ``return_y=True``: the conditions, one a row.
        """
        return self._sample(n_samples, random_state, y, self._draw, return_y, round)

    @property
    def _device(self) -> torch.device:
        return self.density_.anchor.device

    def _rows(self, X: Any) -> Tensor:
        check_is_fitted(self)
        who, form = type(self).__name__, self._form_
        table = form.table(as_numbers(X, source=who), who=who)
        x = validate(self, table, reset=False)
        return to_tensor(form.rows(x, who=who))

    def _sample(
        self,
        n_samples: int,
        random_state: Any,
        y: Any,
        draw: Draw,
        return_y: bool = False,
        round: bool = False,
    ) -> Any:
        """What `sample` returns, of rows drawn by a function of their number, their context and a
        generator."""
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", (int, np.integer), min_val=1)
        if return_y and not self.conditional:
            raise ContextError(
                f"{type(self).__name__}.sample got return_y=True, but the model was fitted without "
                "conditions; fit it with conditional=True and their y."
            )
        generator = seeds.make_generator(random_state, self._device)
        context, given = self._sample_context(int(n_samples), y, generator)
        n_rows = int(n_samples) if context is None else len(context)
        empty = torch.empty(n_rows, *self.density_.event_shape)
        rows = self._evaluate(lambda x, c: draw(len(x), c, generator), empty, context)
        X = self._restore(rows, round=round)
        if not return_y:
            return X
        if given is None and isinstance(self._context_, Labels) and context is not None:
            given = self._context_.decode(context)  # labels that were drawn
        return X, given

    def _draw(self, n_samples: int, context: Tensor | None, generator: torch.Generator) -> Tensor:
        """Draw rows from the density."""
        rows: Tensor = self.density_.sample(n_samples, context, generator=generator)
        return rows

    def _restore(self, rows: Tensor, *, round: bool = False) -> Any:
        """Rows of the density in the container and the types of the training data."""
        is_discrete = round or self.density_.support == "discrete"
        return self._form_.restore(rows.numpy(), self.support_, is_discrete=is_discrete)

    def _joint(self, rows: Tensor, method: str) -> Tensor:
        """log p(x, y) of each row with each class, (n, n_classes)."""
        labels = getattr(self, "_context_", None)
        if not isinstance(labels, Labels):
            given = "numbers as y" if self.conditional else "conditional=False"
            way_out = "fit it with labels"
            if self.conditional and method == "score_samples":
                way_out = "give the condition of each row as y"
            raise ContextError(
                f"{type(self).__name__} was fitted with {given}, so there are no classes for "
                f"{method} to go through: {way_out}."
            )
        each = [
            self._evaluate(self.density_.log_prob, rows, np.tile(code, (len(rows), 1)))
            for code in np.eye(labels.size)
        ]
        return torch.stack(each, 1) + torch.from_numpy(labels.log_prior)

    def _check_condition(self, y: Any, n_rows: int) -> NDArray[Any]:
        """y as an array with a row for each row of X."""
        names = getattr(self, "condition_names_in_", None)
        return check_condition(y, n_rows, names, type(self).__name__).values

    def _encode(self, y: Any, n_rows: int) -> NDArray[np.float64]:
        """y, which must have a row for each row of X, as rows of context."""
        return self._context_.encode(self._check_condition(y, n_rows), type(self).__name__)

    def _is_new_label(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Conditions that are labels which `fit` had not; warns of them."""
        if not isinstance(self._context_, Labels):
            return np.zeros(len(values), dtype=bool)
        is_new = ~self._context_.is_known(values, type(self).__name__)
        if is_new.any():
            unknown = list(dict.fromkeys(np.ravel(values)[is_new].tolist()))
            warnings.warn(
                f"{type(self).__name__} got the labels {shortened(unknown)}, which it was not "
                "fitted with: their rows get the marginal log-density over the labels of fit.",
                ConditionWarning,
                stacklevel=3,
            )
        return is_new

    def _evaluate(
        self, function: Any, rows: Tensor, context: NDArray[np.float64] | None = None
    ) -> Tensor:
        """Apply a function of the density to rows, chunk by chunk."""
        given = None if context is None else torch.from_numpy(context)
        device = self._device

        def on_device(x: Tensor, c: Tensor | None) -> Tensor:
            result: Tensor = function(x.to(device), None if c is None else c.to(device))
            return result.double().cpu()

        return in_chunks(on_device, rows, given)

    def _sample_context(
        self, n_samples: int, y: Any, generator: torch.Generator
    ) -> tuple[NDArray[np.float64] | None, NDArray[Any] | None]:
        """Context of the rows to draw, and the conditions that were given for it."""
        who = type(self).__name__
        if not self.conditional:
            if y is not None:
                raise ContextError(
                    f"{who}.sample got y, expected None, for the model was fitted without "
                    "conditions; fit it with conditional=True and their y."
                )
            return None, None
        if y is None:
            return self._context_.draw(n_samples, seeds.make_rng(generator), who), None
        found = read_condition(y, who)
        check_names(found.names, getattr(self, "condition_names_in_", None), who)
        values = np.atleast_1d(found.values)
        context = self._context_.encode(values, who)
        if len(context) != len(values):  # several numbers were one condition
            values = values[None]
        if len(context) == 1:
            context, values = (np.repeat(each, n_samples, axis=0) for each in (context, values))
        if n_samples not in (1, len(context)):
            raise ContextError(
                f"{who}.sample got n_samples={n_samples} and y with {len(context)} rows; leave "
                "n_samples at 1 for one row a condition, or repeat each condition: "
                "y.loc[y.index.repeat(k)] of a frame, numpy.repeat(y, k, axis=0) of an array."
            )
        return context, values

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name != "example_cases"]

    @classmethod
    def example_cases(cls) -> list[EstimatorCase]:
        """Say how to build examples for the contract kit; the default is one without options."""
        from densekit.testing.cases import EstimatorCase

        return [EstimatorCase(cls.__name__, cls)]
