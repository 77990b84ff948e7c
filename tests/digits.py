"""Small digits, and models of them that are fitted within a second."""

import numpy as np
from sklearn.datasets import load_digits

from densekit import PixelCNNEstimator

DIGITS = load_digits()
X = (DIGITS.images[:120] // 4).astype(np.uint8)  # 8 x 8, levels 0 to 4
Y = DIGITS.target[:120] % 3


def pixelcnn(**options):
    defaults = {"n_layers": 2, "n_channels": 8, "max_epochs": 2, "random_state": 0}
    return PixelCNNEstimator(**(defaults | options))


def half():
    """A mask under which the upper half is known."""
    known = np.zeros((8, 8), dtype=bool)
    known[:4] = True
    return known
