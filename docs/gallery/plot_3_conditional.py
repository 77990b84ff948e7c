"""
A conditional density
=====================

With ``conditional=True``, ``fit(X, y)`` learns the density of X given y: y holds labels (1-D) or
numbers (2-D).

Given numbers
-------------
A regression predicts one number; a conditional density says how likely every number is. Here the
response to a stimulus splits in two as the stimulus grows, and no mean describes that.
"""

import numpy as np

from densekit import NSFEstimator

rng = np.random.default_rng(0)
stimulus = rng.uniform(0, 1, size=(1500, 1))
side = rng.choice([-1, 1], size=(1500, 1))
response = side * 2 * stimulus + rng.normal(scale=0.15 + 0.2 * stimulus, size=(1500, 1))

flow = NSFEstimator(conditional=True, n_layers=2, max_epochs=40, noise=0, random_state=0)
flow.fit(response, stimulus)

# %%
# The curves are the density of the response given three stimuli, each with the responses to stimuli
# near it.

from matplotlib import pyplot as plt

from densekit.plots import DensityDisplay

figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained", sharex=True)
for ax, given in zip(axes, [0.1, 0.5, 0.9], strict=True):
    near = response[np.abs(stimulus - given)[:, 0] < 0.05, None, 0]
    DensityDisplay.from_estimator(flow, near, y=[[given]], ax=ax)
    ax.set(title=f"given a stimulus of {given}", xlabel="response, units of X")
    ax.set_ylabel("density, 1 / (unit of X)")

# %%
# Scores and samples take the condition of each row. Of this density the probability that the
# response to a stimulus of 0.9 is above one is:

drawn = flow.sample(10_000, random_state=0, y=[[0.9]])
print(f"{(drawn > 1).mean():.2f}")

# %%
# Given labels
# ------------
# With labels, one fit is a density of each class, a marginal density and a classifier.

from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

from densekit import MAFEstimator

X, y = load_iris(as_frame=True, return_X_y=True)
names = load_iris().target_names
X_train, X_test, y_train, y_test = train_test_split(X, names[y], random_state=0, stratify=y)
maf = MAFEstimator(conditional=True, random_state=0).fit(X_train, y_train)

print(
    f"given the label {maf.score(X_test, y_test):.2f} nats, marginal {maf.score(X_test):.2f} nats"
)

# %%
# Bayes' rule turns the densities into probabilities of the classes.

log_proba = maf.class_log_proba(X_test)
found = maf.classes_[log_proba.argmax(axis=1)]
print(f"{(found == y_test).mean():.0%} of {len(y_test)} new flowers are told apart")

# %%
# Each density is drawn by its label; without ``y`` the marginal of all is.

figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
petals = ["petal length (cm)", "petal width (cm)"]
one = X_test[y_test == "virginica"]
for ax, rows, label in ((axes[0], X_test, None), (axes[1], one, "virginica")):
    DensityDisplay.from_estimator(maf, rows, columns=petals, y=label, random_state=0, ax=ax)
    ax.set_title("all labels" if label is None else label)
