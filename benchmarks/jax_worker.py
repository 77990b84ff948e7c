"""Peers that run on JAX, in a Python of their own: ``PYTHON benchmarks/jax_worker.py THREADS``.

Each line of standard input is a request in JSON, and each gets a line in reply. Arrays travel in
files. This file imports nothing of densekit, and needs flowjax or pzflow only.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

_HIDDEN, _N_BINS = 128, 8
_models: dict[str, Any] = {}


def main() -> None:
    """Answer requests until the input ends."""
    if hasattr(os, "sched_setaffinity"):  # XLA takes as many threads as it may use processors
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: int(sys.argv[1])]))
    replies = os.fdopen(os.dup(1), "w")
    sys.stdout = sys.stderr  # libraries may print
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = _ANSWERS[request.pop("do")](**request)
        except Exception as error:
            reply = {"error": repr(error)}
        print(json.dumps(reply), file=replies, flush=True)


def _now() -> float:
    """Seconds of the processor with one thread, of the wall with more."""
    return time.process_time() if sys.argv[1] == "1" else time.perf_counter()


def installed() -> list[str]:
    """Names of the peers that are here."""
    return [name for name in _BUILDERS if importlib.util.find_spec(name)]


def build(peer: str, architecture: dict[str, Any], n_features: int) -> list[str]:
    """Make a model of the architecture; say which tasks it can do."""
    _models[peer] = _BUILDERS[peer](architecture, n_features)
    return [] if _models[peer] is None else list(_models[peer].actions())


def seconds(peer: str, task: str, batch: int, n_features: int, count: int) -> float:
    """Mean seconds of a task of a peer's model built last, done so many times."""
    x = np.random.default_rng(0).normal(size=(batch, n_features)).astype(np.float32)
    action = _models[peer].actions()[task]
    start = _now()
    for _ in range(count):
        action(x)
    return (_now() - start) / count


def fit(
    peer: str, architecture: dict[str, Any], train: str, max_seconds: float
) -> dict[str, float]:
    """Fit a model to the rows in a file; say when its best weights were found."""
    rows = np.load(train).astype(np.float32)
    model = _BUILDERS[peer](architecture, rows.shape[1])
    start = _now()
    seconds_to_best = model.fit(rows, max_seconds)
    _models["fitted"] = model
    return {"seconds_to_best": seconds_to_best, "seconds": _now() - start}


def score(rows: str, out: str) -> dict[str, str]:
    """Write the log-densities of the rows in a file by the model fitted last."""
    np.save(out, _models["fitted"].score(np.load(rows).astype(np.float32)))
    return {}


class FlowJax:
    """A flow of flowjax; every function is compiled by jax.jit."""

    def __init__(self, architecture: dict[str, Any], n_features: int):
        import equinox
        import jax
        import optax
        import paramax
        from flowjax import bijections, distributions, flows
        from flowjax.train import losses, train_utils

        is_autoregressive = architecture["is_autoregressive"]
        kind = flows.masked_autoregressive_flow if is_autoregressive else flows.coupling_flow
        spline = bijections.RationalQuadraticSpline(knots=_N_BINS, interval=5)
        self._key = jax.random.key(0)
        self.flow = kind(
            self._key,
            base_dist=distributions.Normal(np.zeros(n_features, np.float32)),
            transformer=spline if architecture["is_spline"] else None,
            flow_layers=architecture["n_layers"],
            nn_width=_HIDDEN,
            nn_depth=2,
        )
        self._parts = equinox.partition(
            self.flow,
            equinox.is_inexact_array,
            is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable),
        )
        self._combine = equinox.combine
        self._optimiser = optax.adam(1e-3)
        self._state = self._optimiser.init(self._parts[0])
        self._loss, self._train_step = losses.MaximumLikelihoodLoss(), train_utils.step
        self._log_prob = equinox.filter_jit(lambda flow, x: flow.log_prob(x))
        self._draw = equinox.filter_jit(lambda flow, key, n: flow.sample(key, (n,)))
        self._block, self._split = jax.block_until_ready, jax.random.split

    def actions(self) -> dict[str, Callable[[Any], Any]]:
        """What is timed."""
        return {
            "score": lambda x: self._block(self._log_prob(self.flow, x)),
            "sample": lambda x: self._block(self._draw(self.flow, self._key, len(x))),
            "train": lambda x: self._block(self.step(x)),
        }

    def step(self, x: Any) -> Any:
        """One step of maximum likelihood."""
        params, static = self._parts
        params, self._state, loss = self._train_step(
            params,
            static,
            x,
            optimizer=self._optimiser,
            opt_state=self._state,
            loss_fn=self._loss,
            key=self._key,
        )
        self._parts = params, static
        return loss

    def fit(self, rows: Any, max_seconds: float) -> float:
        """The usual recipe: batches of 256, the best epoch by a tenth of the rows."""
        start, best, since_best, seconds_to_best = _now(), -np.inf, 0, 0.0
        random = np.random.default_rng(0)
        order = random.permutation(len(rows))
        train, validation = np.split(rows[order], [len(rows) - max(1, len(rows) // 10)])
        size = min(256, len(train))
        while since_best < 20 and _now() - start < max_seconds:
            shuffled = train[random.permutation(len(train))]
            for first in range(0, len(train) - size + 1, size):
                self.step(shuffled[first : first + size])
            flow = self._combine(*self._parts)
            nats = float(np.mean(self._log_prob(flow, validation)))
            since_best += 1
            if nats > best:
                best, since_best, self.flow = nats, 0, flow
                seconds_to_best = _now() - start
        return seconds_to_best

    def score(self, rows: Any) -> Any:
        """Log-density of each row."""
        return np.asarray(self._log_prob(self.flow, rows)).astype(float)


class PZFlow:
    """pzflow's own default: a rolling spline coupling with a uniform base inside the data's box."""

    def __init__(self, n_features: int):
        from pzflow import Flow
        from pzflow.bijectors import RollingSplineCoupling

        self._names = [f"x{i}" for i in range(n_features)]
        self.flow = Flow(self._names)
        layers = RollingSplineCoupling(5, K=_N_BINS, hidden_layers=2, hidden_dim=_HIDDEN)
        self._matched = Flow(self._names, bijector=layers)

    def actions(self) -> dict[str, Callable[[Any], Any]]:
        """What is timed, of a flow in the matched architecture."""
        import pandas as pd

        return {
            "score": lambda x: np.asarray(
                self._matched.log_prob(pd.DataFrame(x, columns=self._names))
            ),
            "sample": lambda x: self._matched.sample(len(x), seed=0),
        }

    def fit(self, rows: Any, max_seconds: float) -> float:
        """Its own recipe, as many of its 100 epochs as there is time for."""
        import pandas as pd

        table = pd.DataFrame(rows, columns=self._names)
        train, validation = table.iloc[len(rows) // 10 :], table.iloc[: max(1, len(rows) // 10)]
        start = _now()
        self.flow.train(train, validation, epochs=1)  # compiles
        compiled = _now()
        self.flow.train(train, validation, epochs=1)
        n_epochs = int((max_seconds - (compiled - start)) / (_now() - compiled))
        self.flow.train(train, validation, epochs=max(1, min(100, n_epochs)), patience=20)
        return _now() - start

    def score(self, rows: Any) -> Any:
        """Log-density of each row, minus infinity outside the box of the training rows."""
        import pandas as pd

        parts = itertools.batched(rows, 4096) if hasattr(itertools, "batched") else [rows]
        tables = (pd.DataFrame(np.array(part), columns=self._names) for part in parts)
        return np.concatenate([np.asarray(self.flow.log_prob(t)) for t in tables]).astype(float)


_BUILDERS: dict[str, Callable[[dict[str, Any], int], Any]] = {
    "flowjax": FlowJax,
    "pzflow": lambda architecture, n_features: (
        PZFlow(n_features) if architecture["name"] == "nsf_c" else None
    ),
}
_ANSWERS: dict[str, Callable[..., Any]] = {
    "installed": installed,
    "build": build,
    "seconds": seconds,
    "fit": fit,
    "score": score,
}

if __name__ == "__main__":
    main()
