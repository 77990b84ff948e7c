"""
A layer of your own
===================

A flow is a chain of layers, each a bijection that carries its own log-determinant. A layer of your
own needs ``forward``, from data to latents, and ``inverse``; checks, training and scores come with
it.

This one is the modulus transform of John and Draper (1980),
:math:`z = \\mathrm{sign}(x)\\,((1 + |x|)^p - 1) / p`, with a learned power for each column. It
draws in heavy tails.
"""

import math

import numpy as np
import torch
from torch import nn

import densekit
from densekit.transforms import Transform


class Modulus(Transform):
    def __init__(self, event_shape, *, context_shape=None):
        super().__init__(event_shape)
        self.weight = nn.Parameter(torch.zeros(self.event_shape))

    @property
    def power(self):  # between a half and two, and one at the start
        return torch.exp(math.log(2) * torch.tanh(self.weight))

    def forward(self, x, context=None):
        power, log_size = self.power, torch.log1p(x.abs())
        z = x.sign() * torch.expm1(power * log_size) / power
        return z, ((power - 1) * log_size).sum(1)

    def inverse(self, z, context=None):
        power = self.power
        log_size = torch.log1p(power * z.abs()) / power
        return z.sign() * torch.expm1(log_size), ((1 - power) * log_size).sum(1)


# %%
# Is it right?
# ------------
# The contract kit holds a layer to its laws: that ``inverse`` undoes ``forward``, that the
# log-determinant is that of automatic differentiation, and others. A broken law is an error that
# names it.

from densekit.testing import checks_for, run_checks

for case in Modulus.example_cases():
    run_checks(case)
    print(f"{case.name} passes {len(checks_for(case))} checks")

# %%
# Use it
# ------
# A class stands wherever a name does; ``register`` gives it a name in this process, and an entry
# point gives it one for all (see :doc:`/plugins`).

densekit.register("transforms", "modulus", Modulus)

rng = np.random.default_rng(0)
X = rng.standard_t(2, size=(1200, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
train, test = X[:800], X[800:]
options = {"random_state": 0, "max_epochs": 60, "noise": 0}
plain = densekit.make_estimator("flow", layers=["actnorm", "linear"], **options).fit(train)
own = densekit.make_estimator("flow", layers=["linear", "modulus", "actnorm"], **options).fit(train)
print(f"without {plain.score(test):.3f} nats, with the layer {own.score(test):.3f} nats")

# %%
# The latents of heavy tails are no standard normals behind a linear map. With the layer they are
# nearer to it.

from matplotlib import pyplot as plt

from densekit.plots import LatentDisplay

figure, axes = plt.subplots(2, 1, figsize=(8, 8), layout="constrained")
for ax, model in zip(axes, [plain, own], strict=True):
    LatentDisplay.from_estimator(model, test, ax=ax)
