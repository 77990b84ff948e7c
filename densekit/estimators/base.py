"""The public door: what every density estimator does the same way."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    check_scalar,
    validate_data,
)
from torch import Tensor

from densekit.data import seeds
from densekit.data.columns import Columns
from densekit.data.context import Context, Labels, check_condition, fit_context
from densekit.data.devices import parse_device
from densekit.data.images import Images
from densekit.data.rows import Rows, in_chunks, merge_duplicates, to_tensor
from densekit.data.support import check_inside, check_levels, parse_support
from densekit.densities.base import Density
from densekit.errors import ContextError
from densekit.estimators.checkpoints import open_checkpoint
from densekit.estimators.documentation import fill_in_shared_parameters
from densekit.estimators.parameters import (
    boolean,
    check_parameters,
    either,
    integer,
    number,
    one_of,
    parameter,
)
from densekit.estimators.preprocessing import assemble, fit_preprocessing, preprocess, take_apart
from densekit.estimators.stored import StoredDensity
from densekit.training import Checkpoint, Trainer, fit_best
from densekit.transforms import Chain

if TYPE_CHECKING:
    from densekit.testing.cases import EstimatorCase

# Small fits run in float64, where it costs nothing, and are then exact to scikit-learn's taste.
MAX_VALUES_IN_FLOAT64 = 10_000
MAX_ROWS_FOR_STATISTICS = 10_000
MANY_ROWS = 10_000  # from here on "auto" builds larger models and adds no noise
NOISE_FOR_FEW_ROWS = 0.3
LEARNING_RATE = 2e-3
Draw = Callable[[int, Tensor | None, torch.Generator], Tensor]
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(kw_only=True, eq=False, repr=False)
class DensityEstimator(StoredDensity, DensityMixin, BaseEstimator, ABC):
    """Base of all estimators: everything but the density itself.

    A subclass is a dataclass (``kw_only=True, eq=False, repr=False``) whose fields are its
    parameters, or has an ordinary ``__init__`` that only stores them. It builds its density in
    `_build_density`; the rest, from checks to training, happens here.

    Parameters
    ----------
    {shared_parameters}
    """

    support: Any = parameter("real")
    conditional: bool = parameter(False, boolean)
    max_epochs: int | str = parameter(500, integer(1))  # images know "auto", here and below
    batch_size: int | str = parameter("auto", either(one_of("auto"), integer(1)))
    learning_rate: float | str = parameter(LEARNING_RATE, number(0.0))
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
        {"support", "max_epochs", "batch_size", "n_iter_no_change", "random_state", "verbose"}
    )

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        fill_in_shared_parameters(cls)

    @abstractmethod
    def _build_density(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> Density:
        """Build the untrained density of a row.

        Rows come standardised, and bounded columns come mapped onto the real line, unless the
        density is discrete. Initial weights and random choices are drawn from torch's default
        generator, which is seeded by `random_state` for the time of this call.

        Parameters
        ----------
        event_shape : tuple of int
            Shape of a row.
        context_shape : tuple of int or None
            Shape of a row of context; None unless ``conditional=True``.

        Returns
        -------
        Density
            With learned parameters, in torch's default dtype.
        """

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
        """
        # All work is done on a draft, so that whatever goes wrong leaves this object untouched.
        draft = copy.copy(self)
        if not self._is_warm():
            for name in [name for name in vars(draft) if name.endswith("_")]:
                delattr(draft, name)
        kept = draft._fit(X, y, sample_weight, checkpoint)
        self.__dict__ = draft.__dict__
        if kept is not None and not self.history_.interrupted:
            kept.remove()
        return self

    def score_samples(self, X: Any, y: Any = None) -> NDArray[np.float64]:
        """Log-density (log-mass for discrete data) of each row, in nats and in the units of X.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features)
        y : array-like, optional
            With ``conditional=True`` the condition of each row. Without it the score is the exact
            marginal over class labels, ``logsumexp_y [log p(x | y) + log p(y)]``.

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
        if y is not None:
            return self._evaluate(self.density_.log_prob, rows, self._encode(y, len(rows))).numpy()
        return self._joint(rows, "score_samples").logsumexp(1).numpy()

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
        weight = _check_sample_weight(sample_weight, scores)
        return float(np.average(scores, weights=weight))

    def sample(self, n_samples: int = 1, random_state: Any = None, *, y: Any = None) -> Any:
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

        Returns
        -------
        array or data frame of shape (n_samples, n_features)
            In the container and the units of the X that was fitted, inside the support.
        """
        return self._sample(n_samples, random_state, y, self._draw)

    def __sklearn_is_fitted__(self) -> bool:
        return "density_" in vars(self)

    @property
    def _device(self) -> torch.device:
        return self.density_.anchor.device

    def _is_warm(self) -> bool:
        """Whether `fit` goes on from the fit before."""
        is_fitted = self.__sklearn_is_fitted__()
        return self.warm_start and is_fitted and hasattr(self, "_context_") == self.conditional

    def _fit(self, X: Any, y: Any, sample_weight: Any, path: Any) -> Checkpoint | None:
        check_parameters(self)
        who, is_warm = type(self).__name__, self._is_warm()
        device = parse_device(self.device, who)
        if not is_warm:
            self._form_: Columns | Images = self._describe(X)
        x = self._validate(X, is_warm)
        weight = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
        keep = weight > 0
        if keep.sum() < 2:
            raise ValueError(
                f"{who} got n_samples=1 row with a positive sample_weight, expected at least 2."
            )
        context = self._fit_context(y, weight, is_warm) if self.conditional else None
        if not keep.all():  # or it would be a copy of the table for nothing
            x, weight = x[keep], weight[keep]
        generator = seeds.make_generator(self.random_state, device)
        kept = open_checkpoint(self, path, (x, weight, context), generator)
        self.n_samples_fit_ = len(x)
        if is_warm:
            preprocessing, core = take_apart(copy.deepcopy(self.density_).to(device))
        else:
            core = self._new_core(x.shape, context, generator, device)
        if x.ndim == 2:
            x, weight, context = merge_duplicates(x, weight, context)
        rows = to_tensor(x).to(device)
        if not is_warm:
            preprocessing = self._fit_preprocessing(rows)
        dtype = core.anchor.dtype
        z, log_det = preprocess(preprocessing, rows, dtype, generator)
        if not is_warm:
            core.fit_statistics(z[:: max(1, len(z) // MAX_ROWS_FOR_STATISTICS)])
        given = None if context is None else torch.from_numpy(context).to(device, dtype)
        data = Rows(z, torch.from_numpy(weight).to(device, dtype), given, log_det)
        parts = data.split(self.validation_fraction, generator)
        del z, data  # training holds the parts alone
        self._train(core, *parts, generator, kept)
        self.density_: Any = assemble(preprocessing, core)
        return kept

    def _validate(self, X: Any, is_warm: bool) -> NDArray[Any]:
        """Check X and the support; a row outside it is refused."""
        who, form = type(self).__name__, self._form_
        table = form.table(X, who=who)
        x = validate_data(
            self, table, reset=not is_warm, dtype=np.float64, order="C", ensure_min_samples=2
        )
        if isinstance(form, Images):
            self.support_ = form.bounds
            return form.rows(x, who=who)
        if not is_warm:
            names = getattr(self, "feature_names_in_", None)
            self.support_ = parse_support(self.support, x.shape[1], names, who=who)
        check_inside(x, self.support_, who=who)
        levels = self._levels()
        if levels is not None:
            check_levels(x, levels, who=who)
        return x

    def _describe(self, X: Any) -> Columns | Images:
        """Say what X is, which samples will be again."""
        return Columns.of(X)

    def _fit_context(
        self, y: Any, weight: NDArray[np.float64], is_warm: bool
    ) -> NDArray[np.float64]:
        """Choose the encoding of y; return the context of the rows that have weight."""
        who = type(self).__name__
        values = check_condition(y, len(weight), who)[weight > 0]
        if not is_warm:
            self._context_: Context = fit_context(values, weight[weight > 0], who=who)
            if isinstance(self._context_, Labels):
                self.classes_ = self._context_.classes
        return self._context_.encode(values, who)

    def _fit_preprocessing(self, x: Tensor) -> Chain:
        if self._is_discrete():
            return Chain([], event_shape=x.shape[1:])
        return fit_preprocessing(
            x,
            self.support_,
            standardize=self._standardizes(),
            names=getattr(self, "feature_names_in_", None),
            who=type(self).__name__,
        )

    def _levels(self) -> tuple[float, ...] | None:
        """The values that a discrete model knows; None for a model of real numbers."""
        return None

    def _is_discrete(self) -> bool:
        """Whether rows are levels, which a model takes as they are."""
        return isinstance(self._form_, Images) or self._levels() is not None

    def _noises(self, has_validation: bool) -> tuple[float, ...]:
        """Noise at the start of training; where there are two, validation rows choose."""
        if self._is_discrete():
            return (0.0,)
        if not isinstance(self.noise, str):
            return (self.noise,)
        has_scale = self._standardizes()  # or noise could be any size, and leave the support
        is_worth_it = has_scale and has_validation and self.n_samples_fit_ < MANY_ROWS
        return (0.0, NOISE_FOR_FEW_ROWS) if is_worth_it else (0.0,)

    def _standardizes(self) -> bool:
        """Whether columns are standardised in front of the model."""
        return True

    def _new_core(
        self,
        shape: tuple[int, ...],
        context: NDArray[np.float64] | None,
        generator: torch.Generator,
        device: torch.device,
    ) -> Density:
        """Build the density of preprocessed rows, in the dtype that the fit asks for."""
        dtype = _DTYPES.get(self.dtype)
        if dtype is None:
            is_small = math.prod(shape) <= MAX_VALUES_IN_FLOAT64 and device.type == "cpu"
            dtype = torch.float64 if is_small else torch.float32
        # They may change after the fit, and what "auto" means with the next version.
        sizes = {name: self._size(name) for name in self._sizes()}
        self._built_with_ = self.get_params(deep=False) | sizes
        with seeds.seeded_initialisation(generator):
            given = None if context is None else context.shape[1:]
            return self._make_core(shape[1:], given, device, dtype)

    def _make_core(
        self,
        event_shape: tuple[int, ...],
        context_shape: tuple[int, ...] | None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> Density:
        return self._build_density(event_shape, context_shape).to(device, dtype)

    def _train(
        self,
        core: Density,
        train: Rows,
        validation: Rows | None,
        generator: torch.Generator,
        checkpoint: Checkpoint | None,
    ) -> None:
        trainers = [self._trainer(noise) for noise in self._noises(validation is not None)]
        trainer, history = fit_best(
            trainers, core, train, validation, generator=generator, checkpoint=checkpoint
        )
        self.noise_ = trainer.noise
        self.history_ = history
        self.n_iter_ = max(1, history.n_epochs)
        self.loss_curve_ = [-nats for nats in history.train_nats]
        self.validation_scores_ = history.validation_nats or None
        self.best_validation_score_ = history.best_score

    def _max_epochs(self) -> int:
        return int(self.max_epochs)

    def _learning_rate(self) -> float:
        return float(self.learning_rate)

    def _trainer(self, noise: float) -> Trainer:
        return Trainer(
            max_epochs=self._max_epochs(),
            batch_size=self.batch_size,
            learning_rate=self._learning_rate(),
            n_iter_no_change=self.n_iter_no_change,
            tol=self.tol,
            noise=noise,
            verbose=self.verbose,
            who=type(self).__name__,
        )

    def _rows(self, X: Any) -> Tensor:
        check_is_fitted(self)
        who, form = type(self).__name__, self._form_
        table = form.table(X, who=who)
        x = validate_data(self, table, reset=False, dtype=np.float64, order="C")
        return to_tensor(form.rows(x, who=who))

    def _sample(self, n_samples: int, random_state: Any, y: Any, draw: Draw) -> Any:
        """Draw rows by a function of their number, their context and a generator."""
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", (int, np.integer), min_val=1)
        generator = seeds.make_generator(random_state, self._device)
        context = self._sample_context(int(n_samples), y, generator)
        n_rows = int(n_samples) if context is None else len(context)
        places = torch.empty(n_rows, *self.density_.event_shape)
        return self._restore(
            self._evaluate(lambda x, c: draw(len(x), c, generator), places, context)
        )

    def _draw(self, n_samples: int, context: Tensor | None, generator: torch.Generator) -> Tensor:
        """Draw rows from the density."""
        rows: Tensor = self.density_.sample(n_samples, context, generator=generator)
        return rows

    def _restore(self, rows: Tensor) -> Any:
        """Rows of the density in the container and the types of the training data."""
        is_discrete = self.density_.support == "discrete"
        return self._form_.restore(rows.numpy(), self.support_, is_discrete=is_discrete)

    def _joint(self, rows: Tensor, method: str) -> Tensor:
        """log p(x, y) of each row with each class, (n, n_classes)."""
        labels = getattr(self, "_context_", None)
        if not isinstance(labels, Labels):
            given = "numbers as y" if self.conditional else "conditional=False"
            raise ContextError(
                f"{type(self).__name__} was fitted with {given}, so there are no classes for "
                f"{method} to go through; fit with labels, or give `y` to score_samples."
            )
        each = [
            self._evaluate(self.density_.log_prob, rows, np.tile(code, (len(rows), 1)))
            for code in np.eye(labels.size)
        ]
        return torch.stack(each, 1) + torch.from_numpy(labels.log_prior)

    def _encode(self, y: Any, n_rows: int) -> NDArray[np.float64]:
        who = type(self).__name__
        return self._context_.encode(check_condition(y, n_rows, who), who)

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
    ) -> NDArray[np.float64] | None:
        if not self.conditional:
            return None
        if y is None:
            who = type(self).__name__
            return self._context_.draw(n_samples, seeds.make_rng(generator), who)
        values = np.atleast_1d(np.asarray(y))
        if len(values) == 1:
            values = np.repeat(values, n_samples, axis=0)
        return self._encode(values, len(values) if n_samples == 1 else n_samples)

    @classmethod
    def example_cases(cls) -> list[EstimatorCase]:
        """Say how to build examples for the contract kit; the default is one without options."""
        from densekit.testing.cases import EstimatorCase

        return [EstimatorCase(cls.__name__, cls)]
