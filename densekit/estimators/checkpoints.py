"""What makes a fit the one it is: a checkpoint of another is refused."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densekit.exceptions import UnsavableError
from densekit.persistence import Encoder
from densekit.training import Checkpoint

if TYPE_CHECKING:
    from densekit.estimators.base import DensityEstimator

_OF_NO_EFFECT = ("verbose", "random_state")  # the seed that comes of it counts


def open_checkpoint(
    estimator: DensityEstimator,
    path: str | os.PathLike[str] | None,
    data: tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None],
    generator: torch.Generator,
) -> Checkpoint | None:
    """Open the checkpoint of a fit: of its rows, weights and context, parameters and seed.

    None without a path.
    """
    if path is None:
        return None
    source = type(estimator).__name__
    names = ("X", "sample_weight", "y")
    prints = {name: _hash(values) for name, values in zip(names, data, strict=True)}
    for name, value in estimator.get_params(deep=False).items():
        if name not in _OF_NO_EFFECT:
            prints[name] = _hash_parameter(value)
    # Without a seed each fit draws its own, which the checkpoint keeps.
    is_seeded = estimator.random_state is not None
    prints["random_state"] = str(generator.initial_seed()) if is_seeded else ""
    prints["device"] = generator.device.type
    density = getattr(estimator, "density_", None)  # that of a warm start
    state = {} if density is None else density.state_dict()
    prints["weights at the start"] = _hash_tensors(state)
    return Checkpoint(path, {"estimator": source, **prints}, generator, source=source)


def _hash(values: NDArray[Any] | None) -> str:
    if values is None:
        return ""
    found = hashlib.sha256(f"{values.dtype.str} {values.shape}".encode())
    found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()


def _hash_tensors(tensors: dict[str, Tensor]) -> str:
    hashes = {name: _hash(tensor.cpu().numpy()) for name, tensor in tensors.items()}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _hash_parameter(value: Any) -> str:
    """A parameter as files hold it; of what they cannot hold the type counts alone."""
    encoder = Encoder()
    try:
        plain = json.dumps(encoder.encode(value, ""))
    except UnsavableError:
        plain = f"{type(value).__module__}.{type(value).__qualname__}"
    return hashlib.sha256(f"{plain} {_hash_tensors(encoder.tensors)}".encode()).hexdigest()
