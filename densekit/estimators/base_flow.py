"""What flows of vectors share beyond other density estimators."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted
from torch import Tensor

from densekit import registry
from densekit.densities.flow import Flow
from densekit.estimators.base import DensityEstimator
from densekit.estimators.fitting import MANY_ROWS
from densekit.estimators.parameters import either, one_of, parameter, sizes
from densekit.exceptions import ShapeError
from densekit.transforms import Bounded, Chain, Inverse, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class BaseFlowEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityEstimator):
    """Base of the flows: rows can be mapped to latents and back.

    A subclass builds its layers in `_build_model` and hands them to `_build_flow`.

    Parameters
    ----------
    base : str, Density or class, default="normal"
        Distribution of the latents: "normal", "logistic", "uniform", "student_t", "mixture" or a
        plugin's.
    hidden_sizes : tuple of int or "auto", default="auto"
        Widths of the hidden layers of each conditioner network. "auto" is (64, 64), and (128, 128)
        from 10,000 training rows on, which bear it.
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

    base: Any = parameter("normal")
    hidden_sizes: tuple[int, ...] | str = parameter("auto", either(one_of("auto"), sizes))

    def transform(self, X: Any, y: Any = None) -> NDArray[np.float64]:
        """Map rows to latents, which are distributed as the base if the fit is good.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features)
        y : array-like, optional
            The condition of each row; needed with ``conditional=True``.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
        """
        rows = self._rows(X)
        context = self._encode(y, len(rows)) if self.conditional else None
        return self._evaluate(lambda x, c: self.to_latents(x, c)[0], rows, context).numpy()

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> NDArray[np.float64]:
        """Fit to X, and map its rows to latents.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features)
        y : array-like, optional
            The condition of each row, with ``conditional=True``.
        **fit_params
            Handed to `fit`.
        """
        return self.fit(X, y, **fit_params).transform(X, y)

    def inverse_transform(self, Z: Any, y: Any = None) -> NDArray[np.float64]:
        """Map latents of shape (n_samples, n_features) back to rows in the units of X.

        Parameters
        ----------
        Z : array of shape (n_samples, n_features)
            Latents.
        y : array-like, optional
            The condition of each row; needed with ``conditional=True``.
        """
        check_is_fitted(self)
        latents = check_array(Z, dtype=np.float64, order="C", input_name="Z", estimator=self)
        if latents.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"{type(self).__name__}.inverse_transform got Z with {latents.shape[1]} columns, "
                f"expected {self.n_features_in_}."
            )
        context = self._encode(y, len(latents)) if self.conditional else None
        rows = torch.from_numpy(latents if latents.flags.writeable else latents.copy())
        return self._evaluate(self._from_latents, rows, context).numpy()

    def to_latents(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latents of rows in the units of X, as tensors, and the log-determinant of the map.

        Parameters
        ----------
        x : Tensor of shape (batch, n_features)
            In float64, on the device of the density.
        context : Tensor, optional
            Encoded conditions.

        Returns
        -------
        z : Tensor of shape (batch, n_features)
        log_det : Tensor of shape (batch,)
        """
        z, log_det = self.density_.preprocess(x)
        latents, own = self.density_.model.transform(z, context)
        return latents, log_det + own

    def _from_latents(self, z: Tensor, context: Tensor | None) -> Tensor:
        z = z.to(self.density_.anchor.dtype)
        x = self.density_.model.transform.inverse(z, context)[0]
        rows: Tensor = self.density_.undo_preprocessing(x)
        return rows

    def _build_flow(self, layers: Sequence[Transform], event_shape: tuple[int, ...]) -> Flow:
        """The flow of layers, from data to latents, over the estimator's base."""
        steps = list(layers)
        output_shape = steps[-1].output_shape if steps else event_shape
        base = registry.build("bases", own_copy(self.base), output_shape)
        if base.on_unit_interval:
            steps.append(Inverse(Bounded.logit(output_shape)))
        return Flow(Chain(steps, event_shape=event_shape), base)

    def _sizes(self) -> dict[str, Any]:
        """More rows bear wider layers."""
        width = 128 if self._has_many_rows() else 64
        return super()._sizes() | {"hidden_sizes": (width, width)}

    def _has_many_rows(self) -> bool:
        return bool(self.n_samples_fit_ >= MANY_ROWS)

    @property
    def _n_features_out(self) -> int:
        return int(self.n_features_in_)


def own_copy(spec: Any) -> Any:
    """Copy an instance that is a parameter, so that training leaves the user's own alone."""
    return copy.deepcopy(spec) if isinstance(spec, torch.nn.Module) else spec
