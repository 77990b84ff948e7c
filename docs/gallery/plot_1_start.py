"""
Start in five minutes
=====================

Install densekit with its pictures and its report:

.. code-block:: bash

    python -m pip install 'densekit[report]'

A density estimator answers three questions about a table: how likely is a row, what do more rows
like these look like, and which rows do not belong. Here the table is one of wines: 178 rows, and a
chemical analysis in 13 columns.
"""

from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

from densekit import NSFEstimator

X = load_wine(as_frame=True).data
train, test = train_test_split(X, test_size=0.3, random_state=0)

# %%
# Fit
# ---
# ``NSFEstimator``, a neural spline flow, is a good first choice. It standardises the columns by
# itself, holds a tenth of the rows out to know when to stop, and gives scores in the units of X.

flow = NSFEstimator(random_state=0).fit(train)
print(f"{flow.n_iter_} epochs, {flow.score(test):.2f} nats per new row")

# %%
# How the fit went: the marked epoch is the one whose weights were kept.

from densekit.plots import TrainingDisplay

TrainingDisplay.from_estimator(flow)

# %%
# How likely is a row?
# --------------------
# ``score_samples`` gives the log-density of each row in nats. The rows of the least density are the
# strangest.

scores = flow.score_samples(test)
test.iloc[scores.argsort()[:3], :6]

# %%
# More rows like these
# --------------------
# ``sample`` gives rows in the container of ``X``.

flow.sample(3, random_state=0).iloc[:, :6].round(2)

# %%
# Dots are wines that the flow has not seen, lines enclose half and 95 % of its samples.

from densekit.plots import PairDisplay

PairDisplay.from_estimator(
    flow, test, columns=["alcohol", "color_intensity", "hue"], random_state=0
)

# %%
# The density of two columns, all others integrated out:

from densekit.plots import DensityDisplay

DensityDisplay.from_estimator(flow, X, columns=["flavanoids", "color_intensity"], random_state=0)

# %%
# Is it any good?
# ---------------
# A report is one page that tells: the nats beside those of a Gaussian, ``KernelDensity`` and
# ``GaussianMixture``, whether the density obeys its own laws, and more. Open it in a browser.

import tempfile
from pathlib import Path

from densekit.report import write_report

with tempfile.TemporaryDirectory() as folder:  # you would keep it
    page = write_report(flow, test, Path(folder) / "report.html", X_train=train)
    print(page.name, f"{page.stat().st_size // 1000:,} kB")

# %%
# Next: :doc:`/choosing` says which estimator is for which data, :doc:`/guide` what ``fit`` takes
# and leaves.
