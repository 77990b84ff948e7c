"""Make the files of the present format: ``python tests/model_files/make.py``.

`pixelcnn_before_dilation` was made before that was a parameter, and cannot be made again.

Files of a released format are never made again: they must open for ever. When the format's number
goes up, this makes a folder of the new number beside the old ones.
"""

import json
from pathlib import Path

import numpy as np

from densekit import MADEEstimator, NSFEstimator, PixelCNNEstimator
from densekit.persistence.container import FORMAT


def models():
    """Each model and the rows that it is scored on."""
    draw = np.random.default_rng(0)
    table, images = draw.normal(size=(60, 2)).round(3), draw.integers(0, 3, (40, 2, 2))
    labels = np.array(["left", "right"])[(table[:, 0] > 0).astype(int)]
    small = {"max_epochs": 3, "random_state": 0}
    tiny = {"hidden_sizes": (4,), **small}
    nsf = NSFEstimator(n_layers=2, n_bins=3, support=[(-9, 9), "real"], conditional=True, **tiny)
    yield "nsf", nsf.fit(table, labels), table
    yield "made", MADEEstimator(n_components=2, dtype="float32", **tiny).fit(table), table
    # Sizes that stand in the file, so that another preset cannot change what it means.
    pixelcnn = PixelCNNEstimator(n_layers=2, n_channels=2, kernel_size=3, **small)
    yield "pixelcnn", pixelcnn.fit(images), images


if __name__ == "__main__":
    folder = Path(__file__).parent / str(FORMAT)
    folder.mkdir(exist_ok=True)
    for name, model, rows in models():
        model.save(folder / f"{name}.densekit")
        expected = {"rows": rows[:5].tolist(), "scores": model.score_samples(rows[:5]).tolist()}
        (folder / f"{name}.json").write_text(json.dumps(expected) + "\n")
