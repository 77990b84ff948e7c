"""IAF: the inverse autoregressive flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densekit.densities.base import Density
from densekit.estimators.base_flow import BaseFlowEstimator
from densekit.estimators.parameters import integer, parameter
from densekit.transforms import ActNorm, Autoregressive, Inverse, Transform


@dataclass(kw_only=True, eq=False, repr=False)
class IAFEstimator(BaseFlowEstimator):
    """Inverse autoregressive flow (Kingma 2016): the map of MAF turned round.

    A sample costs one network pass. Scoring, and so training, goes column by column; it computes
    every hidden unit once, forward and back, but in many small steps, which take four to five times
    as long as those of MAF. Choose it where samples are drawn far more often than rows are scored.

    Parameters
    ----------
    n_layers : int, default=4
        Inverse autoregressive layers.
    elementwise : str, Elementwise or class, optional
        The map of a column; None is "affine", or "spline" for a single column.
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
    MAFEstimator : Scores in one network pass.

    References
    ----------
    .. [1] Kingma et al. (2016), "Improved Variational Inference with Inverse Autoregressive Flow",
       NeurIPS, eq. 10.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from densekit import IAFEstimator
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> IAFEstimator(max_epochs=5, random_state=0).fit(X).sample(4).shape
    (4, 2)
    """

    n_layers: int = parameter(4, integer(1))
    elementwise: Any = parameter(None)

    def _build_model(
        self, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
    ) -> Density:
        options: dict[str, Any] = {
            "elementwise": self.elementwise,
            "hidden_sizes": self._size("hidden_sizes"),
            "context_shape": context_shape,
        }
        layers: list[Transform] = []
        for i in range(self.n_layers):
            order = ("natural", "reversed")[i % 2]
            layer = Autoregressive(event_shape, order=order, **options)
            layers += [ActNorm(event_shape), Inverse(layer)]
        return self._build_flow(layers, event_shape)
