"""The public door: what every density estimator does the same way."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from abc import ABC
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted, check_scalar
from torch import Tensor

from densekit import registry
from densekit.cases import EstimatorCase
from densekit.data import seeds
from densekit.data.cells import validate
from densekit.data.columns import Columns
from densekit.data.context import (
    Labels,
    Numbers,
    check_condition,
    check_names,
    read_condition,
    shortened,
)
from densekit.data.frames import as_numbers
from densekit.data.rows import check_weight, in_chunks, to_tensor
from densekit.data.threads import one_thread
from densekit.densities.base import Density
from densekit.densities.preprocessed import PreprocessedDensity
from densekit.estimators.fitting import LEARNING_RATE, fit_density
from densekit.estimators.parameters import (
    boolean,
    check_parameters,
    either,
    integer,
    number,
    one_of,
    parameter,
)
from densekit.exceptions import ConditionWarning, ContextError
from densekit.persistence import save
from densekit.training import OPTIMIZERS, Trainer
from densekit.training.history import History
from densekit.transforms import Chain

# Parameters that estimators of tables had for images until 0.1.
IMAGE_PARAMETERS = frozenset(
    {
        *("image_shape", "n_levels", "n_scales", "n_channels", "n_blocks", "preset"),
        *("dequantization", "n_dequantizations"),
    }
)
Draw = Callable[[int, Tensor | None, torch.Generator], Tensor]


@dataclass(kw_only=True, eq=False, repr=False)
class DensityEstimator(DensityMixin, BaseEstimator, ABC):
    """Base of all estimators: everything but the model itself.

    A subclass is a dataclass (``kw_only=True, eq=False, repr=False``) whose fields are its
    parameters, or has an ordinary ``__init__`` that only stores them. It builds its model in
    `_build_model`; the rest, from checks to training, happens here and in
    `densekit.estimators.fitting`.

    Parameters
    ----------
    support : "real", "positive", "unit", (low, high), list or dict, default="real"
        Bounds of the columns: one value for all, a list with one for each, or a dict from column
        names or numbers to values. Samples keep inside; rows outside score minus infinity.
    gaussianize : bool, default=True
        Whether each column is first brought near a normal distribution by a fixed map of its own
        (`transforms.Gaussianize`), so that the model has only to learn how columns depend on each
        other. Otherwise columns are standardised and no more.
    conditional : bool, default=False
        Whether the density is conditioned on the `y` of `fit`.
    condition_type : {"auto", "labels", "numbers"}, default="auto"
        What `y` holds. "auto" takes text, categories, booleans and few whole numbers (1-D) for
        labels, and other numbers, and all that is 2-D, for numbers; a warning says where that is in
        doubt.
    max_epochs : int, default=500
        Most passes over the training rows; early stopping mostly ends a fit before.
    batch_size : int or "auto", default="auto"
        Rows of a gradient step; "auto" makes about twelve steps an epoch of 32 to 512 rows.
    learning_rate : float, default=2e-3
        Adam's, at the start; halved whenever a third of the patience passes without progress, once
        there is no noise.
    schedule : {"auto", "plateau", "linear"}, default="auto"
        With "linear" the learning rate rises over the first steps, and then falls in a straight
        line to zero after `max_epochs`, which is to be chosen for it. "auto" is "plateau".
    optimizer : {"auto", "adam", "muon"}, default="auto"
        Adam (Kingma 2015), or Muon (Jordan 2024) for matrices of 32x32 and more inside perceptrons
        and Adam for all else: more is learned of many rows in an epoch that takes somewhat longer.
        "auto" is "adam".
    validation_fraction : float, default=0.1
        Share of the rows held out to stop early; 0 trains on all and monitors those. Fewer than ten
        rows are never split.
    n_iter_no_change : int, default=20
        Epochs without progress after which training stops; the best epoch's weights are kept.
    tol : float, default=1e-4
        Least gain that counts as progress, in nats.
    noise : float or "auto", default="auto"
        Standard deviation of the normal noise on training rows at the start, in units of a column's
        robust standard deviation. It smooths the densities of few rows, and is halved whenever a
        third of the patience passes without progress. "auto" trains twice, with 0 and with 0.3, and
        keeps what is better on validation rows; it is 0 from 10,000 training rows on, without
        validation rows, or where training without it still gains when its epochs end.
    device : str, default="auto"
        "auto" is a GPU where there is one; otherwise any of torch's names.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Number type of the layers; "auto" is float64 up to 10,000 values in X, where that costs
        nothing, and float32 above and on a GPU. Scores are always float64.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights, the preprocessing and the classes of the fit before.
    random_state : int, RandomState or None, default=None
        Makes the fit repeatable: initial weights, the validation split, the order of batches.
    verbose : int, default=0
        1 shows a progress bar with nats of training and validation and the time left.
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

    _not_built_with: ClassVar[frozenset[str]] = frozenset(
        {
            *("support", "condition_type", "max_epochs", "batch_size", "schedule", "optimizer"),
            *("n_iter_no_change", "random_state", "verbose"),
        }
    )
    """Parameters that the model's size does not depend on: they may be any number."""

    _stored_types: ClassVar[dict[str, type]] = {
        kind.__name__: kind for kind in (Columns, Labels, Numbers, History)
    }
    """Dataclasses that may stand in fitted attributes, by their names in model files."""

    _takes_one_thread: ClassVar[bool] = True
    """Whether steps are so small that threads would only wait for each other; images' are not."""

    _image_estimator: ClassVar[str | None] = None
    """The registered name of the estimator that takes the images which this one took before."""

    _dropped_parameters: ClassVar[frozenset[str]] = frozenset()
    """Parameters of older files that are left out."""

    _before: ClassVar[dict[str, Any]] = {}
    """What parameters that came later amounted to before, for files that do not hold them."""

    def _build_model(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> Density:
        """Build the untrained density of a preprocessed row: the one hook of a new estimator.

        Rows come standardised, and bounded columns come mapped onto the real line, unless the
        model is discrete. What torch draws here, such as initial weights, comes from
        `random_state`, and leaves its default generator alone.

        Parameters
        ----------
        event_shape : tuple of int
            Shape of a row.
        context_shape : tuple of int or None
            Shape of a row of context; None unless ``conditional=True``.

        Returns
        -------
        Density
            With learned parameters, in float32.
        """
        former = getattr(self, "_build_density", None)
        if former is None:
            raise NotImplementedError(f"{type(self).__name__} has no _build_model.")
        warnings.warn(
            f"{type(self).__name__}._build_density is called _build_model now; rename it.",
            FutureWarning,
            stacklevel=2,
        )
        model: Density = former(event_shape, context_shape)
        return model

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
        if self._image_estimator is not None and len(getattr(X, "shape", ())) > 2:
            self._become(self._image_estimator)
        for warning in self._fit(X, y, sample_weight, checkpoint):
            warnings.warn(warning, stacklevel=2)
        return self

    def _fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        checkpoint: str | PathLike[str] | None = None,
    ) -> list[Warning]:
        """`fit`, which returns its warnings of how far the result is to be trusted."""
        # All work is done on a draft, so that whatever goes wrong leaves this object untouched.
        draft = copy.copy(self)
        if not self._is_warm():
            for name in [name for name in vars(draft) if name.endswith("_")]:
                delattr(draft, name)
        with one_thread() if self._takes_one_thread else nullcontext():
            kept, doubts = fit_density(draft, X, y, sample_weight, checkpoint)
        self.__dict__ = draft.__dict__
        if kept is not None and not self.history_.interrupted:
            kept.remove()
        return doubts

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
            return self._score(rows).numpy()
        if y is None:
            return self._joint(rows, "score_samples").logsumexp(1).numpy()
        values = self._check_condition(y, len(rows))
        is_new = self._is_new_label(values)
        if not is_new.any():
            return self._score(rows, self._encode(values, len(rows))).numpy()
        scores = np.empty(len(rows))
        scores[is_new] = self._joint(rows[is_new], "score_samples").logsumexp(1).numpy()
        if not is_new.all():
            known = rows[~is_new]
            given = self._encode(values[~is_new], len(known))
            scores[~is_new] = self._score(known, given).numpy()
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
        """Mean of `score_samples` in nats, weighted by `sample_weight`; higher is better.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features)
        y : array-like, optional
            The condition of each row, with ``conditional=True``.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the mean.
        """
        scores = self.score_samples(X, y)
        weight = check_weight(sample_weight, len(scores), least=1, source=type(self).__name__)
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

    def save(self, path: str | PathLike[str]) -> None:
        """Write this estimator, fitted or not, to one file, which `densekit.load` reads.

        Weights and arrays are stored as safetensors, all else as JSON; no pickle. A kill at any
        moment leaves the old file or the new one.

        Parameters
        ----------
        path : str or path-like
            Is replaced if it is there. The customary ending is ``.densekit``.

        Raises
        ------
        UnsavableError
            A TypeError that names a parameter that cannot be written as data, such as an instance
            of a class that has no registered name.
        OSError
            The file cannot be written; an old one is as it was.
        """
        save(self, path)

    def __new__(cls, *args: Any, **parameters: Any) -> Any:
        if cls._image_estimator is None or not IMAGE_PARAMETERS & parameters.keys():
            return super().__new__(cls)
        kind = registry.load("estimators", cls._image_estimator)
        warnings.warn(
            f"{cls.__name__} got parameters of images; {kind.__name__} is the estimator of images "
            "now.",
            FutureWarning,
            stacklevel=2,
        )
        return kind(*args, **parameters)

    def _become(self, name: str) -> None:
        """Go on as the estimator of images, which another class was before."""
        kind = registry.load("estimators", name)
        warnings.warn(
            f"{type(self).__name__} got images; fit {kind.__name__} to them instead.",
            FutureWarning,
            stacklevel=3,
        )
        known = kind._get_param_names()
        kept = {k: v for k, v in self.get_params(deep=False).items() if k in known}
        changed = {
            field.name
            for field in dataclasses.fields(self)
            if field.name in kept and kept[field.name] != field.default
        }
        self.__class__ = kind
        self.__dict__ = kind(**{name: kept[name] for name in changed}).__dict__

    def __sklearn_is_fitted__(self) -> bool:
        return "density_" in vars(self)

    def _is_warm(self) -> bool:
        """Whether `fit` goes on from the fit before."""
        is_fitted = self.__sklearn_is_fitted__()
        return self.warm_start and is_fitted and hasattr(self, "_context_") == self.conditional

    def _describe(self, X: Any) -> Any:
        """Say what X is, which samples will be again."""
        return Columns.of(X)

    def _without_effect(self) -> dict[str, str]:
        """Parameters that have no effect as things are, which is an error, and why."""
        return {} if self.conditional else {"condition_type": "with conditional=False"}

    def _standardizes(self) -> bool:
        """Whether columns are standardised in front of the model."""
        return True

    def _sizes(self) -> dict[str, Any]:
        """What "auto" means for this fit, for each parameter of the model's size that knows it."""
        return {}

    def _size(self, name: str) -> Any:
        """A parameter of the model's size, resolved where it is "auto"."""
        value = getattr(self, name)
        return self._sizes()[name] if isinstance(value, str) else value

    def _trainer(self, noise: float) -> Trainer:
        """What trains the model, by noise at the start."""
        return Trainer(
            max_epochs=self.max_epochs,  # type: ignore[arg-type]  # images resolve "auto"
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,  # type: ignore[arg-type]
            schedule="plateau" if self.schedule == "auto" else self.schedule,
            optimizer="adam" if self.optimizer == "auto" else self.optimizer,
            n_iter_no_change=self.n_iter_no_change,
            tol=self.tol,
            noise=noise,
            verbose=self.verbose,
            source=type(self).__name__,
        )

    def _outline_density(self) -> dict[str, Any]:
        """What `_rebuild_density` needs, of JSON's types but for the steps of preprocessing."""
        context = getattr(self, "_context_", None)
        return {
            "event_shape": list(self.density_.event_shape),
            "context_shape": None if context is None else list(context.shape),
            "preprocessing": self.density_.preprocessing.steps,
            "dtype": str(self.density_.anchor.dtype).removeprefix("torch."),
        }

    def _rebuild_density(self, outline: dict[str, Any], device: torch.device) -> Density:
        """Build the density of an outline, whose weights are still to be filled in."""
        check_parameters(self)
        shape = outline["event_shape"]
        model = self._build_model(shape, outline["context_shape"]).to(device, outline["dtype"])
        preprocessing = Chain(outline["preprocessing"], event_shape=shape).double().to(device)
        return PreprocessedDensity(preprocessing, model).eval()

    @property
    def _device(self) -> torch.device:
        return self.density_.anchor.device

    def _rows(self, X: Any) -> Tensor:
        check_is_fitted(self)
        source, form = type(self).__name__, self._form_
        table = form.table(as_numbers(X, source=source), source=source)
        x = validate(self, table, reset=False)
        return to_tensor(form.rows(x, source=source))

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
        each = [self._score(rows, np.tile(code, (len(rows), 1))) for code in np.eye(labels.size)]
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

    def _score(self, rows: Tensor, context: NDArray[np.float64] | None = None) -> Tensor:
        return self._evaluate(self.density_.log_prob, rows, context, is_parallel=True)

    def _evaluate(
        self,
        function: Any,
        rows: Tensor,
        context: NDArray[np.float64] | None = None,
        *,
        is_parallel: bool = False,
    ) -> Tensor:
        """Apply a function of the density to rows, chunk by chunk."""
        given = None if context is None else torch.from_numpy(context)
        device = self._device

        def on_device(x: Tensor, c: Tensor | None) -> Tensor:
            result: Tensor = function(x.to(device), None if c is None else c.to(device))
            return result.double().cpu()

        with one_thread() if self._takes_one_thread else nullcontext():
            return in_chunks(on_device, rows, given, is_parallel=is_parallel)

    def _sample_context(
        self, n_samples: int, y: Any, generator: torch.Generator
    ) -> tuple[NDArray[np.float64] | None, NDArray[Any] | None]:
        """Context of the rows to draw, and the conditions that were given for it."""
        source = type(self).__name__
        if not self.conditional:
            if y is not None:
                raise ContextError(
                    f"{source}.sample got y, expected None, for the model was fitted without "
                    "conditions; fit it with conditional=True and their y."
                )
            return None, None
        if y is None:
            return self._context_.draw(n_samples, seeds.make_rng(generator), source), None
        found = read_condition(y, source)
        check_names(found.names, getattr(self, "condition_names_in_", None), source)
        values = np.atleast_1d(found.values)
        context = self._context_.encode(values, source)
        if len(context) != len(values):  # several numbers were one condition
            values = values[None]
        if len(context) == 1:
            context, values = (np.repeat(each, n_samples, axis=0) for each in (context, values))
        if n_samples not in (1, len(context)):
            raise ContextError(
                f"{source}.sample got n_samples={n_samples} and y with {len(context)} rows; leave "
                "n_samples at 1 for one row a condition, or repeat each condition: "
                "y.loc[y.index.repeat(k)] of a frame, numpy.repeat(y, k, axis=0) of an array."
            )
        return context, values

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name != "example_cases"]

    @classmethod
    def example_cases(cls) -> list[EstimatorCase]:
        """Say how to build examples for the contract kit; the default is one without options."""
        return [EstimatorCase(cls.__name__, cls)]
