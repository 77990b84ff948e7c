"""Images: what models of minutes reach on real ones, beside the figures of the papers."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

from densekit import ImageGlowEstimator, ImageRealNVPEstimator, PixelCNNEstimator, load
from densekit.plots import ImageGrid

Array = NDArray[Any]
Result = dict[str, Any]
N_SAMPLES = 10_000  # generated images that the independent classifier reads
# Ways to sample in which the classes of samples are read as well. The guidance was chosen by a
# classifier of its own, trained on the test images.
WAYS = {"at temperature 0.9": {"temperature": 0.9}, "guided by 2": {"guidance": 2.0}}
N_TRANSLATED = 500
N_PAIRS = 1000  # test images whose small image is compared with another's
# Most pixels of MNIST are black: noise that is learned spares a flow the edges of a uniform one.
_FLOW = {"dequantization": "variational"}
SOURCE, TARGET = 3, 8  # classes that are translated into one another


def measure(
    tasks: Sequence[str], epochs: int | None, rows: int | None, folder: Path
) -> dict[str, Any]:
    """Fit the model of each task, keep it and its pictures in a folder, and measure it."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = []
    for task in tasks:
        model, X, y, measure_task = TASKS[task](epochs)
        model, cost = _fitted(
            folder / f"{task}.densekit", model, X[:rows], y if y is None else y[:rows]
        )
        start = time.process_time()
        found = measure_task(model, folder)
        cells.append(
            {
                "task": task,
                "model": repr(model),
                **cost,
                "measuring_cpu_seconds": time.process_time() - start,
                "found": found,
            }
        )
        print(cells[-1], flush=True)
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "cells": cells}


def _fitted(path: Path, model: Any, X: Array, y: Array | None) -> tuple[Any, Result]:
    """Fit a model, or take up the one that an earlier run kept."""
    costs = path.with_suffix(".json")
    if path.exists():
        return load(path), json.loads(costs.read_text())
    checkpoint = path.with_suffix(".checkpoint")
    is_resumed, cpu = checkpoint.exists(), time.process_time()
    model.fit(X, y, checkpoint=checkpoint)
    history = model.history_
    cost = {
        "n_rows": len(X),
        "epochs": history.n_epochs,
        "images_a_step": model._trainer(0.0).batch_size,
        "seconds": history.seconds[-1],  # of all runs of one fit
        "cpu_seconds": time.process_time() - cpu,
        "is_resumed": is_resumed,
        "n_rollbacks": history.n_rollbacks,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "curve": list(zip(history.seconds, history.validation_nats, strict=True)),
    }
    costs.write_text(json.dumps(cost))
    model.save(path)
    return model, cost


Task = tuple[Any, Array, Array | None, Callable[[Any, Path], Result]]


def _binarized(epochs: int | None) -> Task:
    with np.load(_data() / "binarized_mnist.npz") as parts:
        train, test = (
            np.unpackbits(parts[key], axis=1)[:, :784].reshape(-1, 28, 28)
            for key in ("train", "test")
        )

    def found(model: Any, folder: Path) -> Result:
        scores = model.score_samples(test)
        _draw(folder, "binarized", lambda: ImageGrid.from_estimator(model, 64, random_state=0))
        known = np.zeros((28, 28), bool)
        known[:14] = True
        rows = test[:10]
        _draw(
            folder,
            "completions",
            lambda: ImageGrid.from_completions(model, rows, known, random_state=0),
        )
        return {"test nats": -scores.mean(), "error": scores.std() / len(scores) ** 0.5}

    return PixelCNNEstimator(**_options(epochs, 12)), train, None, found


def _classes(epochs: int | None) -> Task:
    X, y, X_test, y_test = _mnist()

    def found(model: Any, folder: Path) -> Result:
        classes, bits = _by_bayes(model, X_test)
        _draw(folder, "classes", lambda: ImageGrid.from_estimator(model, 100, random_state=0))
        guided: dict[str, Any] = {"random_state": 0, **WAYS["guided by 2"]}
        _draw(folder, "classes_guided", lambda: ImageGrid.from_estimator(model, 100, **guided))
        asked, reader = np.arange(N_SAMPLES) % 10, _reader(X, y)

        def read(**options: float) -> float:
            samples = model.sample(len(asked), 0, y=asked, **options)
            return reader.score(_scaled(samples), asked)

        return {
            "accuracy by Bayes": np.mean(classes == y_test),
            "class read off samples": read(),
            **{f"class read off samples {way}": read(**WAYS[way]) for way in WAYS},
            "reader on test images": reader.score(_scaled(X_test), y_test),
            "bits per dimension": bits,
        }

    return PixelCNNEstimator(conditional=True, **_options(epochs, 9)), X, y, found


def _glow(epochs: int | None) -> Task:
    X, y, X_test, y_test = _mnist()

    def found(model: Any, folder: Path) -> Result:
        # log p(x) >= log p(x, y): a bound that costs one pass and not one for each class.
        given_y = model.score_samples(X_test, y_test) + model._context_.log_prior[y_test]
        _draw(folder, "glow", lambda: ImageGrid.from_estimator(model, 100, random_state=0))
        given = X_test[y_test == SOURCE]
        shown = given[:10]
        _draw(
            folder,
            "translation",
            lambda: ImageGrid.from_translation(model, shown, SOURCE, TARGET),
        )
        turned = model.translate(given[:N_TRANSLATED], SOURCE, TARGET)
        back = model.translate(turned, TARGET, SOURCE)
        gap = np.abs(back - given[:N_TRANSLATED])
        read = _reader(X, y).predict(_scaled(np.clip(turned, 0, 255)))
        return {
            "bits per dimension": -given_y.mean() / (np.log(2) * X_test[0].size),
            f"{TARGET} read off translated {SOURCE}": np.mean(read == TARGET),
            "images back within 1e-3": np.mean(gap.max((1, 2)) < 1e-3),
            "median of their greatest gaps": np.median(gap.max((1, 2))),
        }

    return ImageGlowEstimator(conditional=True, **_FLOW, **_options(epochs, 4)), X, y, found


def _realnvp(epochs: int | None) -> Task:
    X, _, X_test, _ = _mnist()

    def found(model: Any, folder: Path) -> Result:
        _draw(folder, "realnvp", lambda: ImageGrid.from_estimator(model, 64, random_state=0))
        return {"bits per dimension": model.bits_per_dim(X_test).mean()}

    return ImageRealNVPEstimator(**_FLOW, **_options(epochs, 4)), X, None, found


def _super(epochs: int | None) -> Task:
    X, _, X_test, _ = _mnist()
    small, small_test = _shrunk(X), _shrunk(X_test)

    def found(model: Any, folder: Path) -> Result:
        own, own_small = X_test[:N_PAIRS], small_test[:N_PAIRS]
        right = model.score_samples(own, own_small)
        wrong = model.score_samples(own, np.roll(own_small, 1, axis=0))
        large = model.sample(y=own_small, temperature=0.8, random_state=0)
        error = np.mean((_shrunk(large, whole=False) - own_small) ** 2.0, axis=(1, 2))
        ratio = 10 * np.log10(255**2 / error)

        def picture() -> ImageGrid:
            shown = np.stack([own_small[:10].repeat(4, 1).repeat(4, 2), large[:10], own[:10]])
            return ImageGrid(shown, names=["small", "drawn", "true"], greatest=255).plot()

        _draw(folder, "super_resolution", picture)
        return {
            "right small image scores above another's": np.mean(right > wrong),
            "mean PSNR of samples, averaged down, in dB": ratio.mean(),
            "samples at 25 dB or more": np.mean(ratio >= 25),
        }

    return ImageGlowEstimator(conditional=True, **_options(epochs, 4)), X, small, found


def _cifar(kind: Any) -> Callable[[int | None], Task]:
    def task(epochs: int | None) -> Task:
        with np.load(_data() / "cifar10_small.npz") as parts:
            X, X_test = parts["x_train"], parts["x_test"]

        def found(model: Any, folder: Path) -> Result:
            name = f"cifar_{kind.__name__}"
            _draw(folder, name, lambda: ImageGrid.from_estimator(model, 36, random_state=0))
            return {"bits per dimension": model.bits_per_dim(X_test).mean()}

        return kind(**_options(epochs, 3)), X, None, found

    return task


TASKS: dict[str, Callable[[int | None], Task]] = {
    "binarized": _binarized,
    "classes": _classes,
    "glow": _glow,
    "realnvp": _realnvp,
    "super": _super,
    "cifar pixelcnn": _cifar(PixelCNNEstimator),
    "cifar glow": _cifar(ImageGlowEstimator),
}


def _options(epochs: int | None, default: int) -> dict[str, Any]:
    """What all tasks share: few rows are enough to see how training goes."""
    n_epochs = default if epochs is None else epochs
    return {
        "max_epochs": n_epochs,
        "validation_fraction": 0.02,
        "random_state": 0,
        "verbose": 1,
    }


def _data() -> Path:
    return Path(os.environ.get("DENSEKIT_DATA", "no folder"))


def _mnist() -> tuple[Array, Array, Array, Array]:
    with np.load(_data() / "mnist.npz") as parts:
        return parts["x_train"], parts["y_train"], parts["x_test"], parts["y_test"]


def _by_bayes(model: Any, X: Array) -> tuple[Array, float]:
    """The likeliest class of each image, and the mean bits of the exact marginal over classes."""
    n = len(X)
    each = [model.score_samples(X, np.full(n, label)) for label in model.classes_]
    joint = np.stack(each, 1) + model._context_.log_prior
    marginal = np.logaddexp.reduce(joint, axis=1)
    bits = -marginal.mean() / (np.log(2) * X[0].size)
    return model.classes_[joint.argmax(1)], float(bits)


def _reader(X: Array, y: Array) -> MLPClassifier:
    """A classifier of real digits that knows nothing of the model."""
    if "reader" not in _kept:
        _kept["reader"] = MLPClassifier((200,), max_iter=12, random_state=0).fit(_scaled(X), y)
    return _kept["reader"]


_kept: dict[str, MLPClassifier] = {}


def _scaled(X: Array) -> Array:
    return X.reshape(len(X), -1) / 255.0


def _shrunk(X: Array, *, whole: bool = True) -> Array:
    """Means of blocks of 4x4 pixels, rounded to levels or not."""
    mean = X.reshape(len(X), 7, 4, 7, 4).mean((2, 4))
    return np.rint(mean).astype(np.uint8) if whole else mean


def _draw(folder: Path, name: str, picture: Callable[[], ImageGrid]) -> None:
    picture().figure_.savefig(folder / f"{name}.png", dpi=100)
