"""Foreign images: raw likelihood beside likelihood ratios and typicality."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score

from densekit import AnomalyDetector, PixelCNNEstimator

N_TEST = 300
SCORES = ("log_density", "likelihood_ratio", "orientation", "typicality")

Images = NDArray[np.uint8]


def measure(n_train: int, max_epochs: int) -> Iterator[dict[str, Any]]:
    """The result so far, after every set: AUROC against each foreign set.

    Models are trained once, and each score's detector calibrates on other images.
    """
    folder = Path(os.environ.get("DENSEKIT_DATA", "no folder"))
    result: dict[str, Any] = {
        "torch": torch.__version__,
        "n_train": n_train,
        "max_epochs": max_epochs,
        "cells": [],
    }
    for name, (train, test, foreign) in _sets(folder).items():
        start = time.process_time()
        kind = PixelCNNEstimator(n_levels=256, max_epochs=max_epochs, random_state=0)
        n_seen = min(n_train, len(train) - N_TEST)
        seen, calibration = train[:n_seen], train[n_seen : n_seen + N_TEST]
        model = FrozenEstimator(kind.fit(seen))
        seconds = time.process_time() - start
        for score in SCORES:
            detector = AnomalyDetector(model, score=score, random_state=0).fit(calibration)
            own = detector.score_samples(test[:N_TEST])
            for other_name, images in foreign.items():
                scores = np.concatenate([own, detector.score_samples(images[:N_TEST])])
                y = np.repeat([1, 0], [len(own), len(scores) - len(own)])
                cell = {"trained_on": name, "n_seen": n_seen, "foreign": other_name, "score": score}
                auroc = float(roc_auc_score(y, scores))
                result["cells"].append(cell | {"auroc": auroc, "cpu_seconds": seconds})
        yield result


def _sets(folder: Path) -> dict[str, tuple[Images, Images, dict[str, Images]]]:
    """Training images, held-out ones, and foreign ones, by name."""
    with np.load(folder / "mnist.npz") as parts:
        keys = {key.lower(): key for key in parts.files}
        digits, digits_test = (parts[keys[key]] for key in ("x_train", "x_test"))
        classes, classes_test = (parts[keys[key]] for key in ("y_train", "y_test"))
    with np.load(folder / "cifar10_small.npz") as parts:
        keys = {key.lower(): key for key in parts.files}
        photos, photos_test = (_grey(parts[keys[k]]) for k in ("x_train", "x_test"))
    turned = np.rot90(digits_test, axes=(1, 2)).copy()
    of_digits = {"inverted": 255 - digits_test, "rotated": turned, "photos": photos_test}
    flat = np.full_like(photos_test[:N_TEST], 85)
    blurred = (photos_test[:, ::4, ::4]).repeat(4, axis=1).repeat(4, axis=2)
    of_photos = {"digits": digits_test, "one grey": flat, "coarse photos": blurred}
    of_eights = {"ones": digits_test[classes_test == 1]}
    return {
        "digits": (digits, digits_test, of_digits),
        "eights": (digits[classes == 8], digits_test[classes_test == 8], of_eights),
        "photos": (photos, photos_test, of_photos),
    }


def _grey(images: NDArray[Any]) -> Images:
    """The middle 28 x 28 pixels of colour images, in grey."""
    return np.rint(images[:, 2:30, 2:30].mean(-1)).astype(np.uint8)
