"""The documentation of parameters that all estimators share, written once."""

from __future__ import annotations

import inspect

_FLOW = """\
base : str, Density or class, default="normal"
    Distribution of the latents: "normal", "logistic", "uniform", "student_t", "mixture".
hidden_sizes : tuple of int or "auto", default="auto"
    Widths of the hidden layers of each conditioner network. "auto" is (64, 64), and (128, 128)
    from 10,000 training rows on, which bear it."""

_SHARED = """\
support : "real", "positive", "unit", (low, high), list or dict, default="real"
    Bounds of the columns: one value for all, a list with one for each, or a dict from column
    names or numbers to values. Samples keep inside; rows outside score minus infinity.
gaussianize : bool, default=True
    Whether columns that are far from normal are first brought near a normal distribution, each by a
    fixed map of its own (`transforms.Gaussianize`), so that the model has only to learn how they
    depend on each other. Otherwise they are standardised and no more; discrete models take them as
    they are.
conditional : bool, default=False
    Whether the density is conditioned on the `y` of `fit`.
condition_type : {"auto", "labels", "numbers"}, default="auto"
    What `y` holds. "auto" takes text, categories, booleans and few whole numbers (1-D) for labels,
    and other numbers, and all that is 2-D, for numbers; where that is in doubt a warning says so.
max_epochs : int, default=500
    Most passes over the training rows; early stopping mostly ends a fit before.
batch_size : int or "auto", default="auto"
    Rows of a gradient step; "auto" makes about twelve steps an epoch of 32 to 512 rows.
learning_rate : float, default=2e-3
    Adam's, at the start; halved whenever a third of the patience passes without progress, once
    there is no noise.
schedule : {"auto", "plateau", "linear"}, default="auto"
    With "linear" the learning rate also rises over the first steps, and then falls in a straight
    line to zero after `max_epochs`, which is to be chosen for it. "auto" is "linear" for images and
    "plateau" for tables.
optimizer : {"auto", "adam", "muon"}, default="auto"
    Adam (Kingma 2015), or Muon (Jordan 2024), which orthogonalises the steps of matrices of 32x32
    and more inside perceptrons, and leaves all else to Adam: more is learned of many rows in an
    epoch that takes somewhat longer. Models of images have no such matrices. "auto" is "adam".
validation_fraction : float, default=0.1
    Share of the rows held out to stop early; 0 trains on all and monitors those. Fewer than ten
    rows are never split.
n_iter_no_change : int, default=20
    Epochs without progress after which training stops; the best epoch's weights are kept.
tol : float, default=1e-4
    Least gain that counts as progress, in nats.
noise : float or "auto", default="auto"
    Standard deviation of the normal noise on training rows at the start, in units of a column's
    robust standard deviation; discrete models take none. It smooths the densities of few rows, and
    is halved whenever a third of the patience passes without progress. "auto" trains twice, with 0
    and with 0.3, and keeps what is better on validation rows; it is 0 from 10,000 training rows on,
    without validation rows, or where training without it still gains when its epochs end.
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
    1 shows a progress bar with nats of training and validation and the time left."""


_IMAGE = """\
image_shape : (height, width) or (height, width, channels), optional
    Shape of the images where X has flat rows, (n_samples, height * width * channels). Arrays of
    images (n, H, W) and (n, H, W, C) need none.
n_levels : int or "auto", default="auto"
    Numbers are integers from 0 to ``n_levels - 1``. "auto" is what the greatest number of the
    training images asks for, and above 64 levels 256 or 65,536.
max_epochs : int or "auto", default="auto"
    Most passes over the training rows. "auto" is 500 for tables, and for images so many that half
    a billion pixels are seen, from 3 to 500.
batch_size : int or "auto", default="auto"
    Rows of a gradient step. "auto" makes about twelve steps an epoch of 32 to 512 rows of a table,
    and takes as few images as fill a step, 32 small ones to 8 of 28x28 pixels and more: more steps
    teach more.
learning_rate : float or "auto", default="auto"
    Adam's, at the start. "auto" is 2e-3 for tables and 4e-3 for images.
dtype : {"auto", "bfloat16", "float32", "float64"}, default="auto"
    As for all estimators. "bfloat16" lets the networks of images train in half precision, and
    everything else stay in float32; "auto" does so above 10,000 values where it is faster."""


_IMAGE_FLOW = (
    _IMAGE
    + """
n_scales : int or "auto", default="auto"
    Of images: how often their sides are halved, after which half of the channels leave. "auto" is
    as often as they can be halved, and at most three times.
n_channels, n_blocks : int or "auto", default="auto"
    Of images: hidden channels and residual blocks of each convolutional conditioner; "auto" is
    the preset's.
preset : {"fast", "paper"}, default="fast"
    Of images: what "auto" stands for. "fast" trains in minutes on a laptop, "paper" has the sizes
    of the paper's own experiments, for a GPU.
dequantization : {"uniform", "variational"}, default="uniform"
    Of images: the noise that makes levels continuous. Variational noise is learned and gives a
    tighter bound (Ho 2019), for a third more time.
n_dequantizations : int, default=1
    Of images: draws of the noise whose mean makes a score. More give a tighter bound, and cost
    as many passes."""
)


_TEXTS = {
    "{image_flow_parameters}": _IMAGE_FLOW,
    "{flow_parameters}": _FLOW,
    "{image_parameters}": _IMAGE,
    "{shared_parameters}": _SHARED,
}


def fill_in_shared_parameters(cls: type) -> None:
    """Replace the marks ``{flow_parameters}`` and the like in a docstring.

    Of a parameter that is explained more than once, the first explanation stays: images come
    before what all estimators share.
    """
    doc = vars(cls).get("__doc__") or ""
    if not any(mark in doc for mark in _TEXTS):
        return
    lines: list[str] = []
    for line in inspect.cleandoc(doc).splitlines():
        text = _TEXTS.get(line.strip())
        lines += [line] if text is None else _without_known(text, lines)
    cls.__doc__ = "\n".join(lines)


def _without_known(text: str, lines: list[str]) -> list[str]:
    """The entries of a text, but for those that stand in the lines."""
    known = {line.split(" : ")[0] for line in lines if " : " in line}
    kept, is_new = [], True
    for line in text.splitlines():
        if not line.startswith(" "):
            is_new = line.split(" : ")[0] not in known
        if is_new:
            kept.append(line)
    return kept
