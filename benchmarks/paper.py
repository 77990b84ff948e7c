"""The whole of POWER, as the papers of the models measured it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from densekit import MAFEstimator, NSFEstimator, RealNVPEstimator

_AFFINE = {"n_layers": 10, "hidden_sizes": (128, 128)}
_SPLINES = {
    "hidden_sizes": (128, 128),
    "n_bins": 32,
    "schedule": "linear",
    "optimizer": "muon",
}
# Test nats of the papers (Papamakarios 2017, table 1; Durkan 2019, table 1), and the estimator.
MODELS: dict[str, tuple[float, Any, dict[str, Any]]] = {
    "realnvp": (0.17, RealNVPEstimator, _AFFINE),
    "maf": (0.24, MAFEstimator, _AFFINE),
    "nsf_c": (0.64, NSFEstimator, {"n_layers": 8, "autoregressive": False, **_SPLINES}),
    "nsf_ar": (0.66, NSFEstimator, {"n_layers": 8, **_SPLINES}),
}


def measure(
    models: Sequence[str], epochs: int, n_rows: int | None, gaussianize: bool
) -> dict[str, Any]:
    """Fit each model to the training rows; early stopping is by a tenth of them."""
    folder = Path(os.environ.get("DENSEKIT_DATA", "no folder"))
    with np.load(folder / "power.npz") as parts:
        train, test = (parts[key].astype(float) for key in ("train", "test"))
    cells = []
    for name in models:
        published, kind, options = MODELS[name]
        if not gaussianize:
            options = options | {"gaussianize": False}
        estimator = kind(random_state=0, max_epochs=epochs, **options)
        start = time.perf_counter()
        scores = estimator.fit(train[:n_rows]).score_samples(test)
        history = estimator.history_
        cells.append(
            {
                "model": name,
                "options": options,
                "published": published,
                "nats": float(scores.mean()),
                "error": float(scores.std() / np.sqrt(len(scores))),
                "seconds": time.perf_counter() - start,
                "interrupted": history.interrupted,
                "curve": list(zip(history.seconds, history.validation_nats, strict=True)),
            }
        )
    threads = torch.get_num_threads()
    return {"n_rows": len(train[:n_rows]), "epochs": epochs, "threads": threads, "cells": cells}
