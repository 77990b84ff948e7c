"""
Images: draw them, read them, complete them, translate them
============================================================

Images are ordinary arrays of integers, ``(n, H, W)`` or ``(n, H, W, C)``. This page fits a
PixelCNN and two Glows to scikit-learn's digits, 8x8 pixels of 17 grey levels, for about a minute
together; the models are small, and so are their pictures. Run it as a script with the environment
variable ``DENSEKIT_DATA`` naming a folder that holds ``mnist.npz``, and it takes 20,000 digits of
28x28 pixels and 256 levels instead, for an hour or two.
"""

import os
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from densekit import ImageGlowEstimator, PixelCNNEstimator
from densekit.plots import ImageGrid

path = Path(os.environ.get("DENSEKIT_DATA", ".")) / "mnist.npz"
if path.exists():
    with np.load(path) as parts:
        X, y = parts["x_train"][:20_000], parts["y_train"][:20_000]
else:
    digits = load_digits()
    X, y = digits.images.astype(np.uint8), digits.target
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
X_test, y_test = X_test[:450], y_test[:450]
height, width = X.shape[1:]

# %%
# A PixelCNN that knows the classes
# ---------------------------------
# With ``conditional=True`` the labels are the condition. Scores are exact log-masses in nats, and
# `bits_per_dim` says how many bits a pixel takes.

pixelcnn = PixelCNNEstimator(conditional=True, n_layers=3, max_epochs=12, random_state=0)
pixelcnn.fit(X_train, y_train)
print(f"{pixelcnn.bits_per_dim(X_test, y_test).mean():.3f} bits a pixel")

# %%
# Samples of the class that is asked for, one class in each row. Each pixel is computed once.

grid = ImageGrid.from_estimator(pixelcnn, n=100, random_state=0)

# %%
# Guided samples look more like their own class and less like the others.

grid = ImageGrid.from_estimator(pixelcnn, n=100, random_state=0, guidance=2.0)

# %%
# The same model reads digits, by Bayes' rule over the classes.

log_proba = pixelcnn.class_log_proba(X_test)
print(f"{np.mean(log_proba.argmax(1) == y_test):.1%} of the test images read right")

# %%
# Complete images
# ---------------
# The known pixels stay; the others are drawn, in raster order, each given all before it. Here the
# upper half is known.

is_known = np.zeros((height, width), dtype=bool)
is_known[: height // 2] = True
grid = ImageGrid.from_completions(pixelcnn, X_test[:12], is_known, y=y_test[:12], random_state=0)

# %%
# Which pixels are surprising
# ---------------------------
# The log-mass of an image is a sum over its pixels.

terms = pixelcnn.log_prob_terms(X_test[:12], y_test[:12])
grid = ImageGrid(
    np.stack([X_test[:12] / X.max(), terms / terms.min()]), names=["image", "surprise"], greatest=1
).plot()

# %%
# Translate between two sets of images
# ------------------------------------
# A flow maps an image to latents and back. Encoded under one label and decoded under another, a
# three becomes an eight, and the way back leads to the three again.

glow = ImageGlowEstimator(
    conditional=True, n_layers=4, n_channels=32, max_epochs=20, random_state=0
)
glow.fit(X_train, y_train)
grid = ImageGrid.from_translation(glow, X_test[y_test == 3][:12], 3, 8)

# %%
# Latents below temperature one are nearer the centre, and give cleaner images.

grid = ImageGrid.from_estimator(glow, n=100, random_state=0, temperature=0.7)

# %%
# Large images from small ones
# ----------------------------
# With images as `y` the flow is a density of the large image given the small one (as in SRFlow,
# Lugmayr 2020).

blocks = X.reshape(-1, height // 2, 2, width // 2, 2)
small = np.rint(blocks.mean((2, 4))).astype(np.uint8)
small_train, small_test = train_test_split(small, random_state=0)
enlarge = ImageGlowEstimator(
    conditional=True, n_layers=4, n_channels=32, max_epochs=10, random_state=0
)
enlarge.fit(X_train, small_train)
large = enlarge.sample(y=small_test[:12], temperature=0.8, random_state=0)
shown = small_test[:12].repeat(2, 1).repeat(2, 2)
grid = ImageGrid(np.stack([shown, large, X_test[:12]]), names=["small", "drawn", "true"]).plot()
