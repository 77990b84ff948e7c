"""Estimators to files and back."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator

import densekit
from densekit import discovery, registry
from densekit.data.devices import parse_device
from densekit.data.initialisation import seeded_initialisation
from densekit.exceptions import (
    AlteredFileError,
    MissingPluginError,
    ModelFileError,
    PluginError,
    PluginVersionWarning,
    UnsavableError,
    shorten,
)
from densekit.persistence import container as files
from densekit.persistence.budget import Allowance, Budget
from densekit.persistence.decoding import Decoder
from densekit.persistence.encoding import Encoder

KIND = "model"


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a registered estimator to one file; the same as its method `save`."""
    if not isinstance(estimator, BaseEstimator):
        raise UnsavableError(f"save got {estimator!r}, expected an estimator.")
    encoder = Encoder()
    encoded = encoder.encode(estimator, "")
    versions = {
        "densekit": densekit.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
    }
    description = {"versions": versions, "plugins": encoder.plugins, "estimator": encoded}
    files.write(path, KIND, description, encoder.tensors)


@torch.inference_mode(False)  # or weights that are loaded inside it could never be trained
def load(path: str | os.PathLike[str], device: str = "auto") -> Any:
    """Read an estimator from a file that its method `save` wrote.

    Scores and seeded samples are those of the estimator that was saved, bit for bit on the same
    machine. The file is data: nothing in it is run, and memory stays in proportion to its size.
    Plugins that it names are imported, if they are installed.

    Parameters
    ----------
    path : str or path-like
    device : str, default="auto"
        Where the density goes; "auto" is a GPU if there is one.

    Returns
    -------
    estimator

    Raises
    ------
    NotAModelFileError, TruncatedFileError, AlteredFileError, NewerFormatError, MissingPluginError
        ModelFileErrors, which are ValueErrors: the file is none of densekit's, cut off, altered, of
        a later format, or needs a plugin that is not installed.
    OSError
        The file cannot be opened.

    Examples
    --------
    >>> import tempfile, numpy as np, densekit
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> maf = densekit.MAFEstimator(max_epochs=2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     maf.save(f"{folder}/maf.densekit")
    ...     again = densekit.load(f"{folder}/maf.densekit")
    >>> bool((again.score_samples(X) == maf.score_samples(X)).all())
    True
    """
    target = parse_device(device, "load")
    source = repr(os.fspath(path))
    description, tensors = files.read(path, KIND)
    plugins = description.get("plugins")
    _check_plugins(plugins if isinstance(plugins, dict) else {}, source)
    allowance = Allowance(sum(tensor.nbytes for tensor in tensors.values()))
    budget = Budget(allowance, tensors.values())
    try:
        with (
            registry.contained(f"What {source} holds"),
            seeded_initialisation(torch.Generator().manual_seed(0)),
            budget,
        ):
            decoder = Decoder(tensors, target, allowance)
            estimator = decoder.decode(description.get("estimator"))
            decoder.check_all_used()
    except ModelFileError as error:
        raise type(error)(f"{source} cannot be loaded: {error}") from error.__cause__
    except PluginError:
        raise
    except Exception as error:  # whatever a wrong description may lead to
        raise AlteredFileError(
            f"{source} cannot be loaded: its description leads to {type(error).__name__}: "
            f"{shorten(error)}"
        ) from error
    if not isinstance(estimator, BaseEstimator):
        raise AlteredFileError(f"{source} cannot be loaded: it holds no estimator.")
    return estimator


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Say what a model file holds, without building or importing any of it.

    Returns
    -------
    dict
        "versions" and "plugins" by distribution, and "estimator": a registered name, "parameters"
        and "attributes" as JSON.
    """
    return files.read_description(path, KIND)


def _check_plugins(plugins: dict[str, Any], source: str) -> None:
    """Refuse missing distributions before anything is built; warn of other versions."""
    present = {plugin.distribution: plugin.version for plugin in discovery.plugins()}
    for distribution, version in plugins.items():
        if distribution not in present:
            raise MissingPluginError(
                f"{source} needs plugins of the distribution {distribution[:80]!r} (version "
                f"{str(version)[:40]}), which is not installed or not allowed by "
                f"{discovery.ALLOW_LIST_VARIABLE}."
            )
        if version != present[distribution]:
            warnings.warn(
                f"{source} was written with version {str(version)[:40]} of the distribution "
                f"{distribution!r}, and {present[distribution]} is installed: scores may differ "
                "from those of the model that was saved.",
                PluginVersionWarning,
                stacklevel=4,
            )
