"""
A density in a pipeline
=======================

Estimators of densekit are scikit-learn estimators: they stand at the end of a ``Pipeline``, and
``GridSearchCV`` chooses their parameters by held-out nats. Here a flow learns the density of
handwritten digits in the space of their first principal components, and new digits are drawn from
it.
"""

from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from densekit import NSFEstimator

X = load_digits().data
train, test = train_test_split(X, test_size=0.25, random_state=0)

flow = NSFEstimator(max_epochs=40, noise=0.3, random_state=0)
pipeline = make_pipeline(PCA(n_components=16, whiten=True, random_state=0), flow)

# %%
# ``score`` is the mean log-likelihood, so a search needs no ``scoring``. It prefers the candidate
# under which held-out rows are the most likely.

search = GridSearchCV(pipeline, {"nsfestimator__n_layers": [1, 2]}, cv=2).fit(train)
for parameters, nats in zip(
    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
):
    print(parameters, f"{nats:.2f} nats")

# %%
# Scores behind another step are in the units of what the step gives, here of whitened components.
# That is fair among candidates that share the step. Steps of other shapes, such as other numbers of
# components, give nats that must not be compared: they are densities of different things. There is
# no need to standardise in front of a flow: it does that itself, and counts it in its scores.

best = search.best_estimator_
print(f"{best.score(test):.2f} nats per new row")

# %%
# Do latents follow the base?
# ---------------------------
# The flow maps components to latents, which are standard normal if the fit is right. They are
# judged by rows that were not fitted on.

from densekit.plots import LatentDisplay

LatentDisplay.from_estimator(best[-1], best[:-1].transform(test))

# %%
# New digits
# ----------
# Samples go back through the steps in front.

from densekit.plots import ImageGrid

components = best[-1].sample(40, random_state=0)
digits = best[:-1].inverse_transform(components).clip(0, 16)
ImageGrid(digits.reshape(4, 10, 8, 8)).plot()
