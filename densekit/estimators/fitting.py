"""What happens inside `fit`: schema, validation, preprocessing, model, training, in this order."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from densekit.data import seeds
from densekit.data.cells import validate
from densekit.data.context import (
    Labels,
    check_condition,
    fit_context,
)
from densekit.data.devices import parse_device
from densekit.data.forks import prepare_for_forks
from densekit.data.frames import as_numbers
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
from densekit.data.support import check_inside, check_levels
from densekit.densities.base import Density
from densekit.densities.preprocessed import PreprocessedDensity
from densekit.estimators.checkpoints import open_checkpoint
from densekit.estimators.parameters import check_effects, check_parameters
from densekit.exceptions import (
    ConstantColumnWarning,
    ContextError,
    ParameterError,
    RepeatedValuesWarning,
)
from densekit.training import Checkpoint, Trainer, fit_best
from densekit.training.history import History
from densekit.training.noise import as_training_sees, smooth
from densekit.training.trials import still_gains
from densekit.transforms import Bounded, Chain, Gaussianize, Standardize, Transform
from densekit.transforms.gaussianize import GRID
from densekit.transforms.knots import MAX_BINS, MAX_BINS_OF_MANY
from densekit.transforms.marginals import MANY_ROWS as MANY_ROWS_OF_A_COLUMN

if TYPE_CHECKING:
    from densekit.estimators.base import DensityEstimator

# Small fits run in float64, where it costs nothing, and are then exact to scikit-learn's taste.
MAX_VALUES_IN_FLOAT64 = 10_000
MANY_ROWS = 10_000  # from here on "auto" builds larger models and adds no noise
NOISE_FOR_FEW_ROWS = 0.3
LEARNING_RATE = 2e-3
CHUNK = 8192  # rows at a time
FAR = 1e3  # scales, beyond which a column is seen through a logarithm
MOST_COLUMNS_SHOWN = 5  # in a warning
_DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}


@torch.inference_mode(False)  # which also records gradients where the caller switched that off
def fit_density(
    estimator: DensityEstimator, X: Any, y: Any, sample_weight: Any, path: Any
) -> tuple[Checkpoint | None, list[Warning]]:
    """Fit an estimator in place: set every fitted attribute, `density_` last.

    Parameters
    ----------
    estimator : DensityEstimator
        A draft, which an error may leave in any state.
    X, y, sample_weight
        As in `DensityEstimator.fit`.
    path : str, path-like or None
        Of the checkpoint.

    Returns
    -------
    checkpoint : Checkpoint or None
    doubts : list of Warning
        How far the result is to be trusted.
    """
    # Schema and validation: whatever is wrong with the data ends here.
    prepare_for_forks()
    check_parameters(estimator)
    source, is_warm = type(estimator).__name__, estimator._is_warm()
    device = parse_device(estimator.device, source)
    X = as_numbers(X, source=source)
    if not is_warm:
        estimator._form_ = estimator._describe(X)
        check_effects(estimator)
    x = _validate(estimator, X, is_warm)
    weight = check_weight(sample_weight, len(x), least=2, source=source)
    context = _fit_context(estimator, y, weight, is_warm) if estimator.conditional else None
    keep = weight > 0
    if not keep.all():  # or it would be a copy of the table for nothing
        x, weight = x[keep], weight[keep]
    generator = seeds.make_generator(estimator.random_state, device)
    checkpoint = open_checkpoint(estimator, path, (x, weight, context), generator)
    x, weight, context = repeat_by_weight(x, weight, context)
    estimator.n_samples_fit_ = len(x)

    # The model, untrained.
    if is_warm:
        former = copy.deepcopy(estimator.density_).to(device)
        preprocessing, model = former.preprocessing, former.model
    else:
        model = _build_model(estimator, x.shape, context, generator, device)
    if context is not None and model.context_shape is None:
        raise ParameterError(
            f"{source} got conditional=True, which has no effect where no part of the model takes "
            "a condition; leave it at False, or choose layers that do."
        )
    is_discrete = model.support == "discrete"
    if model.levels is not None:
        check_levels(x, model.levels, source=source)
    estimator.repeated_values_ = {} if is_discrete else _find_repeated_values(estimator, x)

    # Preprocessing, applied once for all epochs.
    rows, row_weight = to_tensor(x).to(device), torch.from_numpy(weight).to(device)
    if not is_warm:
        preprocessing = _fit_preprocessing(estimator, by_weight(rows, row_weight), is_discrete)
    dtype = model.anchor.dtype
    z, log_det, is_constant = preprocess(preprocessing, rows, dtype, generator)
    least_noise, noise = None, estimator.noise
    has_scale = not is_discrete and estimator._standardizes()  # or noise could be any size
    if has_scale and noise != 0:
        z, least_noise = smooth(z, row_weight, is_constant, is_auto=isinstance(noise, str))
    if not is_warm:
        model.fit_statistics(as_training_sees(z, row_weight, least_noise, generator))

    # Training.
    given = None if context is None else torch.from_numpy(context).to(device, dtype)
    data = Rows(z, row_weight.to(dtype), given, log_det, is_constant, least_noise)
    train, validation = data.split(estimator.validation_fraction, generator)
    del z, data  # training holds the parts alone
    noises: tuple[float, ...] = (0.0,)
    if not is_discrete and not isinstance(noise, str):
        noises = (noise,)
    elif has_scale and estimator.n_samples_fit_ < MANY_ROWS and validation is not None:
        noises = (0.0, NOISE_FOR_FEW_ROWS)  # validation rows choose
    trainer, history = fit_best(
        [estimator._trainer(noise) for noise in noises],
        model,
        train,
        validation,
        generator=generator,
        checkpoint=checkpoint,
    )
    estimator.noise_ = trainer.noise
    estimator.history_ = history
    estimator.n_iter_ = max(1, history.n_epochs)
    estimator.loss_curve_ = [-nats for nats in history.train_nats]
    estimator.validation_scores_ = history.validation_nats or None
    estimator.best_validation_score_ = history.best_score
    estimator.density_ = PreprocessedDensity(preprocessing, model).eval()
    return checkpoint, _doubts(estimator, trainer, history)


def _validate(estimator: DensityEstimator, X: Any, is_warm: bool) -> NDArray[Any]:
    """Check X and the support; return rows as the density takes them."""
    source, schema = type(estimator).__name__, estimator._form_
    table = schema.table(X, source=source)
    x = validate(estimator, table, reset=not is_warm, ensure_min_samples=2)
    rows: NDArray[Any] = schema.rows(x, source=source)
    if not is_warm:
        estimator.support_ = schema.bounds(estimator.support, x.shape[1], source=source)
    check_inside(x, estimator.support_, source=source)
    return rows


def _fit_context(
    estimator: DensityEstimator, y: Any, weight: NDArray[np.float64], is_warm: bool
) -> NDArray[np.float64]:
    """Choose the encoding of y; return the context of the rows that have weight."""
    source, keep = type(estimator).__name__, weight > 0
    names = getattr(estimator, "condition_names_in_", None)
    given = check_condition(y, len(weight), names, source)
    values = given.values
    if not is_warm:
        own = weight[keep]

        def fit_steps(numbers: NDArray[np.float64]) -> tuple[Transform, ...]:
            """What brings conditions to a common scale, as columns of X are."""
            rows = by_weight(to_tensor(numbers), torch.from_numpy(relative_weights(own)))
            return fit_column_maps(rows, gaussianize=estimator.gaussianize)

        estimator._context_ = fit_context(
            given._replace(values=values[keep]),
            own,
            condition_type=estimator.condition_type,
            fit_steps=fit_steps,
            fit_arrays=estimator._form_.describe_condition,
            source=source,
        )
        if given.names is not None and values.ndim <= 2:
            estimator.condition_names_in_ = np.array(given.names, dtype=object)
        if isinstance(estimator._context_, Labels):
            estimator.classes_ = estimator._context_.classes
    try:
        context: NDArray[np.float64] = estimator._context_.encode(values[keep], source)
    except ContextError as error:
        if not is_warm:
            raise
        kind = type(estimator._context_).__name__.lower()
        raise ContextError(
            f"{error} warm_start=True goes on from the fit before, whose y were {kind}: give such "
            "again, or set warm_start=False to begin anew."
        ) from None
    return context


def _build_model(
    estimator: DensityEstimator,
    shape: tuple[int, ...],
    context: NDArray[np.float64] | None,
    generator: torch.Generator,
    device: torch.device,
) -> Density:
    """Build the density of preprocessed rows, in the dtype that the fit asks for."""
    dtype = _DTYPES.get(estimator.dtype)
    if dtype is None:
        is_small = math.prod(shape) <= MAX_VALUES_IN_FLOAT64 and device.type == "cpu"
        dtype = torch.float64 if is_small else torch.float32
    # They may change after the fit, and what "auto" means with the next version.
    sizes = {name: estimator._size(name) for name in estimator._sizes()}
    estimator._built_with_ = estimator.get_params(deep=False) | sizes
    with seeded_initialisation(generator):
        context_shape = None if context is None else context.shape[1:]
        return estimator._build_model(shape[1:], context_shape).to(device, dtype)


def _find_repeated_values(
    estimator: DensityEstimator, x: NDArray[Any]
) -> dict[str, tuple[float, float]]:
    """The commonest value and its share, for columns in which values repeat, by name."""
    names = estimator._form_.names
    return {
        f"x{i}" if names is None else str(names[i]): found
        for i, found in find_repeated_values(x).items()
    }


def _fit_preprocessing(estimator: DensityEstimator, x: Tensor, is_discrete: bool) -> Chain:
    if is_discrete:
        return Chain([], event_shape=x.shape[1:])
    return fit_preprocessing(
        x,
        estimator.support_,
        standardize=estimator._standardizes(),
        gaussianize=estimator.gaussianize,
        names=estimator._form_.names,
        source=type(estimator).__name__,
    )


def fit_preprocessing(
    x: Tensor,
    bounds: NDArray[np.float64],
    *,
    standardize: bool,
    gaussianize: bool,
    names: Sequence[str] | None,
    source: str,
) -> Chain:
    """Fit, in float64, the steps that bring rows to the real line and to a common scale.

    Warns of constant columns by name.
    """
    event_shape = tuple(x.shape[1:])
    steps: list[Transform] = []
    if np.isfinite(bounds).any():
        low, high = torch.from_numpy(bounds).to(x)
        margin = Bounded.nearest_margins(x, low, high)
        steps.append(Bounded(event_shape, low=low.tolist(), high=high.tolist(), margin=margin))
    if standardize:
        steps += _column_maps(event_shape, len(x), gaussianize)
    chain = Chain(steps, event_shape=event_shape).double().to(x.device)
    chain.fit_statistics(x)
    is_constant = _constant_columns(chain)
    if bool(is_constant.any()):
        columns = [
            i if names is None else str(names[i]) for i in is_constant.nonzero()[:, 0].tolist()
        ]
        warnings.warn(
            f"{source}: the columns {columns} are constant, or but for one row; each is modelled "
            "as its value with a standard deviation of 1e-3 * max(1, |value|).",
            ConstantColumnWarning,
            stacklevel=4,
        )
    return chain


def fit_column_maps(x: Tensor, *, gaussianize: bool) -> tuple[Transform, ...]:
    """Fit, in float64, what brings each column to a common scale, and near a normal distribution.

    The first step is a `Standardize`.
    """
    event_shape = tuple(x.shape[1:])
    chain = Chain(_column_maps(event_shape, len(x), gaussianize), event_shape=event_shape).double()
    chain.fit_statistics(x)
    return tuple(chain.steps)


def _column_maps(event_shape: tuple[int, ...], n_rows: int, gaussianize: bool) -> list[Transform]:
    steps: list[Transform] = [Standardize(event_shape, limit=FAR)]
    if gaussianize:
        max_bins = MAX_BINS if n_rows < MANY_ROWS_OF_A_COLUMN else MAX_BINS_OF_MANY
        steps.append(Gaussianize(event_shape, max_bins=max_bins))
    return steps


@torch.no_grad()
def preprocess(
    preprocessing: Chain, x: Tensor, dtype: torch.dtype, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Apply the fixed steps once, for all epochs.

    Constant columns get noise of the standard deviation that stands for them, so that the model
    learns a proper density there and not a spike without end.

    Returns
    -------
    rows : Tensor
        In `dtype`, for training.
    log_det : Tensor of shape (n,)
        Log-determinants of the steps.
    is_constant : Tensor of shape (n_features,) or None
        Columns that are noise; None where there are none.
    """
    rows, log_det = torch.empty_like(x, dtype=dtype), x.new_empty(len(x))
    is_constant = _constant_columns(preprocessing)
    for start in range(0, len(x), CHUNK):  # in float64, but never for the whole table
        part = slice(start, start + CHUNK)
        z, log_det[part] = preprocessing(x[part])
        if bool(is_constant.any()):
            noise = torch.randn(
                z.shape, generator=generator, dtype=z.dtype, device=generator.device
            )
            z = torch.where(is_constant, noise, z)
        rows[part] = (z / GRID).round() * GRID if preprocessing.steps else z
    return rows, log_det, is_constant if bool(is_constant.any()) else None


def _constant_columns(preprocessing: Chain) -> Tensor:
    for step in preprocessing.steps:
        if isinstance(step, Standardize):
            return step.is_constant
    return torch.zeros(preprocessing.event_shape, dtype=torch.bool)


def _doubts(estimator: DensityEstimator, trainer: Trainer, history: History) -> list[Warning]:
    """Warnings of how far the fit is to be trusted."""
    source = type(estimator).__name__
    doubts: list[Warning] = []
    repeated = estimator.repeated_values_
    if repeated:
        shown = [
            f"{name!r} ({value:g} in {100 * share:.2g} % of the rows)"
            for name, (value, share) in list(repeated.items())[:MOST_COLUMNS_SHOWN]
        ]
        more = len(repeated) - len(shown)
        names = ", ".join(shown) + (f" and {more} more" if more else "")
        doubts.append(
            RepeatedValuesWarning(
                f"{source}: values repeat in {names}. A density of values that repeat can be as "
                "large as one likes, so these nats are no measure: compare none of them, with "
                "nothing. Samples and ranks of rows keep their meaning."
            )
        )
    is_cut_short = trainer.schedule == "plateau" and not history.interrupted
    if is_cut_short and still_gains(history, trainer.max_epochs, trainer.n_iter_no_change):
        doubts.append(
            ConvergenceWarning(
                f"{source}: max_epochs={trainer.max_epochs} ended training that still gained; more "
                "may fit better."
            )
        )
    return doubts
