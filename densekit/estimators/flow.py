"""A flow of any layers: the home of third-party ones."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from densekit import registry
from densekit.densities.base import Density
from densekit.estimators.base_flow import BaseFlowEstimator, own_copy
from densekit.estimators.parameters import parameter
from densekit.exceptions import ParameterError
from densekit.transforms import Transform

DEFAULT_LAYERS = ("actnorm", "autoregressive", "reverse") * 4


@dataclass(kw_only=True, eq=False, repr=False)
class FlowEstimator(BaseFlowEstimator):
    """Flow whose layers are given as a list, from data to latents.

    Columns are standardised in front of the first layer, unless that layer wants them in their
    own units ("standardize", "logit", or a plugin's that says so).

    Parameters
    ----------
    layers : sequence of str, (str, dict), Transform or class
        Each a name of ``densekit.available("transforms")``, a name with its options, a class or an
        instance (which is copied). A layer's own options go before the estimator's `hidden_sizes`.
        The default is a masked autoregressive flow of four layers.
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

    Attributes
    ----------
    density_ : Density
        The fitted density of rows in the units of X: `preprocessing` in front of a `model`.
    n_features_in_ : int
        Columns of X, or numbers of an image.
    feature_names_in_ : ndarray of str
        Column names of X, where they are text.
    support_ : ndarray of shape (2, n_features)
        Least and greatest values.
    classes_ : ndarray of shape (n_classes,)
        Labels, where `y` had labels.
    condition_names_in_ : ndarray
        Column names of `y`, where it had some.
    n_samples_fit_ : int
        Rows of positive weight.
    n_iter_ : int
        Epochs.
    history_ : History
        Nats, learning rates and seconds of each epoch.
    loss_curve_ : list of float
        Negative mean nats of the training rows, epoch by epoch.
    validation_scores_ : list of float or None
        Mean nats of the validation rows, epoch by epoch.
    best_validation_score_ : float
        The best of them, or of the training rows where none were held out.
    repeated_values_ : dict from str to (float, float)
        For columns in which values repeat the commonest value and its share.
    noise_ : float
        The noise at the start of the training that was kept.

    See Also
    --------
    MAFEstimator, NSFEstimator : Flows of the papers, with layers that are chosen.

    References
    ----------
    .. [1] Rezende and Mohamed (2015), "Variational Inference with Normalizing Flows", ICML, eq. 5.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from densekit import FlowEstimator
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> layers = ["actnorm", ("coupling", {"elementwise": "spline"}), "reverse", "coupling"]
    >>> FlowEstimator(layers=layers, max_epochs=5, random_state=0).fit(X).sample(4).shape
    (4, 2)
    """

    layers: Sequence[Any] = parameter(DEFAULT_LAYERS)

    def _check_layers(self) -> list[tuple[Any, dict[str, Any]]]:
        """Parse the list into targets and options, before any work."""
        if isinstance(self.layers, str) or not isinstance(self.layers, Sequence):
            raise ParameterError(
                f"FlowEstimator got layers={self.layers!r}, expected a list of layers."
            )
        parsed = []
        for layer in self.layers:
            spec, options = layer if isinstance(layer, tuple | list) else (layer, {})
            parsed.append((registry.resolve("transforms", spec), dict(options)))
        return parsed

    def _without_effect(self) -> dict[str, str]:
        found = super()._without_effect()
        if not self._standardizes():
            reason = "where the first layer takes columns in their own units"
            found |= dict.fromkeys(("gaussianize", "noise"), reason)
        takes_them = (
            _has_hidden_sizes(spec) and "hidden_sizes" not in options
            for spec, options in self._check_layers()
        )
        if not any(takes_them):
            found["hidden_sizes"] = "where no layer has hidden sizes but its own"
        return found

    def _standardizes(self) -> bool:
        layers = self._check_layers()
        first = layers[0][0] if layers else None
        cls = type(first) if isinstance(first, Transform) else registry.owner(first)
        return not getattr(cls, "in_data_units", False)

    def _build_model(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> Density:
        built: list[Transform] = []
        for spec, options in self._check_layers():
            shape = built[-1].output_shape if built else event_shape
            shared: dict[str, Any] = {"context_shape": context_shape}
            if _has_hidden_sizes(spec):
                shared["hidden_sizes"] = self._size("hidden_sizes")
            built.append(registry.build("transforms", own_copy(spec), shape, **(shared | options)))
        return self._build_flow(built, event_shape)


def _has_hidden_sizes(target: Any) -> bool:
    """Whether the estimator's `hidden_sizes` are an option of a layer."""
    is_built = isinstance(target, Transform)
    return not is_built and "hidden_sizes" in inspect.signature(target).parameters
