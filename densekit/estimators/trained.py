"""How a density is fitted: rows checked and preprocessed, a core built and trained."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor

from densekit.data import seeds
from densekit.data.cells import validate
from densekit.data.columns import Columns
from densekit.data.context import (
    Context,
    Labels,
    check_condition,
    fit_context,
)
from densekit.data.devices import parse_device
from densekit.data.frames import as_numbers
from densekit.data.images import Images
from densekit.data.initialisation import seeded_initialisation
from densekit.data.rows import (
    Rows,
    by_weight,
    check_weight,
    find_repeated_values,
    relative_weights,
    repeat_by_weight,
    to_tensor,
)
from densekit.data.support import check_inside, check_levels, parse_support
from densekit.densities.base import Density
from densekit.errors import ContextError
from densekit.estimators.checkpoints import open_checkpoint
from densekit.estimators.parameters import check_parameters
from densekit.estimators.preprocessing import (
    assemble,
    fit_column_maps,
    fit_preprocessing,
    preprocess,
    take_apart,
)
from densekit.estimators.stored import StoredDensity
from densekit.forks import prepare_for_forks
from densekit.training import Checkpoint, Trainer, fit_best
from densekit.training.noise import as_training_sees, smooth
from densekit.transforms import Chain, Transform

# Small fits run in float64, where it costs nothing, and are then exact to scikit-learn's taste.
MAX_VALUES_IN_FLOAT64 = 10_000
MANY_ROWS = 10_000  # from here on "auto" builds larger models and adds no noise
NOISE_FOR_FEW_ROWS = 0.3
LEARNING_RATE = 2e-3
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class TrainedDensity(StoredDensity, BaseEstimator):
    """What happens inside `fit`; `DensityEstimator` says what its parameters mean."""

    support: Any
    gaussianize: bool
    conditional: bool
    condition_type: str
    max_epochs: int | str
    batch_size: int | str
    learning_rate: float | str
    schedule: str
    optimizer: str
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    noise: float | str
    device: str
    dtype: str
    warm_start: bool
    random_state: Any
    verbose: int

    @abstractmethod
    def _build_density(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> Density:
        """Build the untrained density of a row.

        Rows come standardised, and bounded columns come mapped onto the real line, unless the
        density is discrete. What torch draws here, such as initial weights, comes from
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

    def __sklearn_is_fitted__(self) -> bool:
        return "density_" in vars(self)

    def _is_warm(self) -> bool:
        """Whether `fit` goes on from the fit before."""
        is_fitted = self.__sklearn_is_fitted__()
        return self.warm_start and is_fitted and hasattr(self, "_context_") == self.conditional

    @torch.inference_mode(False)  # which also records gradients where the caller switched that off
    def _fit(self, X: Any, y: Any, sample_weight: Any, path: Any) -> Checkpoint | None:
        prepare_for_forks()
        check_parameters(self)
        who, is_warm = type(self).__name__, self._is_warm()
        device = parse_device(self.device, who)
        X = as_numbers(X, source=who)
        if not is_warm:
            self._form_: Columns | Images = self._describe(X)
        x = self._validate(X, is_warm)
        weight = check_weight(sample_weight, len(x), least=2, who=who)
        keep = weight > 0
        context = self._fit_context(y, weight, is_warm) if self.conditional else None
        if not keep.all():  # or it would be a copy of the table for nothing
            x, weight = x[keep], weight[keep]
        generator = seeds.make_generator(self.random_state, device)
        kept = open_checkpoint(self, path, (x, weight, context), generator)
        x, weight, context = repeat_by_weight(x, weight, context)
        self.n_samples_fit_ = len(x)
        self.repeated_values_ = {} if self._is_discrete() else self._find_repeated_values(x)
        if is_warm:
            preprocessing, core = take_apart(copy.deepcopy(self.density_).to(device))
        else:
            core = self._new_core(x.shape, context, generator, device)
        rows, row_weight = to_tensor(x).to(device), torch.from_numpy(weight).to(device)
        if not is_warm:
            preprocessing = self._fit_preprocessing(by_weight(rows, row_weight))
        dtype = core.anchor.dtype
        z, log_det, is_constant = preprocess(preprocessing, rows, dtype, generator)
        least_noise = None
        if self._may_add_noise():
            is_auto = isinstance(self.noise, str)
            z, least_noise = smooth(z, row_weight, is_constant, is_auto=is_auto)
        if not is_warm:
            core.fit_statistics(as_training_sees(z, row_weight, least_noise, generator))
        given = None if context is None else torch.from_numpy(context).to(device, dtype)
        data = Rows(z, row_weight.to(dtype), given, log_det, is_constant, least_noise)
        parts = data.split(self.validation_fraction, generator)
        del z, data  # training holds the parts alone
        self._train(core, *parts, generator, kept)
        self.density_: Any = assemble(preprocessing, core)
        return kept

    def _validate(self, X: Any, is_warm: bool) -> NDArray[Any]:
        """Check X and the support; a row outside it is refused."""
        who, form = type(self).__name__, self._form_
        table = form.table(X, who=who)
        x = validate(self, table, reset=not is_warm, ensure_min_samples=2)
        if isinstance(form, Images):
            self.support_ = form.bounds
            return form.rows(x, who=who)
        if not is_warm:
            self.support_ = parse_support(self.support, x.shape[1], form.names, who=who)
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
        who, keep = type(self).__name__, weight > 0
        given = check_condition(y, len(weight), getattr(self, "condition_names_in_", None), who)
        values = given.values
        if values.ndim > 2 and not isinstance(self._form_, Images):
            raise ContextError(
                f"{who} got y of shape {values.shape} for a table, expected a label or a row of "
                "numbers for each row of X; only images can be given images."
            )
        if not is_warm:
            own = weight[keep]
            self._context_: Context = fit_context(
                given._replace(values=values[keep]),
                own,
                condition_type=self.condition_type,
                fit_steps=lambda numbers: self._fit_steps_of_numbers(numbers, own),
                source=who,
            )
            if given.names is not None and values.ndim <= 2:
                self.condition_names_in_ = np.array(given.names, dtype=object)
            if isinstance(self._context_, Labels):
                self.classes_ = self._context_.classes
        try:
            return self._context_.encode(values[keep], who)
        except ContextError as error:
            if not is_warm:
                raise
            kind = type(self._context_).__name__.lower()
            raise ContextError(
                f"{error} warm_start=True goes on from the fit before, whose y were {kind}: give "
                "such again, or set warm_start=False to begin anew."
            ) from None

    def _fit_steps_of_numbers(
        self, numbers: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> tuple[Transform, ...]:
        """Fit what brings conditions to a common scale, as columns of X are."""
        rows = by_weight(to_tensor(numbers), torch.from_numpy(relative_weights(weight)))
        return fit_column_maps(rows, gaussianize=self.gaussianize)

    def _fit_preprocessing(self, x: Tensor) -> Chain:
        if self._is_discrete():
            return Chain([], event_shape=x.shape[1:])
        return fit_preprocessing(
            x,
            self.support_,
            standardize=self._standardizes(),
            gaussianize=self.gaussianize,
            names=getattr(self._form_, "names", None),
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

    def _find_repeated_values(self, x: NDArray[Any]) -> dict[str, tuple[float, float]]:
        """The commonest value and its share, for columns in which values repeat, by name."""
        names = getattr(self._form_, "names", None)
        return {
            f"x{i}" if names is None else str(names[i]): found
            for i, found in find_repeated_values(x).items()
        }

    def _may_add_noise(self) -> bool:
        """Whether there is a scale that noise can be a share of, and no wish to have none."""
        is_refused = not isinstance(self.noise, str) and self.noise == 0
        return not (self._is_discrete() or is_refused) and self._standardizes()

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
        with seeded_initialisation(generator):
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

    def _schedule(self) -> str:
        return "plateau" if self.schedule == "auto" else self.schedule

    def _optimizer(self) -> str:
        return "adam" if self.optimizer == "auto" else self.optimizer

    def _trainer(self, noise: float) -> Trainer:
        return Trainer(
            max_epochs=self._max_epochs(),
            batch_size=self.batch_size,
            learning_rate=self._learning_rate(),
            schedule=self._schedule(),
            optimizer=self._optimizer(),
            n_iter_no_change=self.n_iter_no_change,
            tol=self.tol,
            noise=noise,
            verbose=self.verbose,
            who=type(self).__name__,
        )
