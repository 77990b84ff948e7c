"""Checkpoints: a fit that was killed goes on to the same result, and to no other."""

import copy
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from densekit import ImageGlowEstimator, MADEEstimator, MAFEstimator, PixelCNNEstimator
from densekit.exceptions import (
    CheckpointError,
    CheckpointWarning,
    DivergenceError,
    InterruptedFitWarning,
    ModelFileError,
)
from densekit.persistence import container as files
from densekit.training.run import Run
from densekit.training.trainer import Trainer

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(120, 2))
IMAGES = DRAW.integers(0, 4, (40, 4, 4))
LABELS = np.arange(len(IMAGES)) % 3


class Killed(BaseException):
    pass


class Often:
    """Writes its checkpoint after each epoch."""

    def _trainer(self, noise):
        trainer = super()._trainer(noise)
        trainer.checkpoint_seconds = 0.0
        return trainer


class OftenMAF(Often, MAFEstimator):
    pass


class OftenGlow(Often, ImageGlowEstimator):
    pass


class OftenPixelCNN(Often, PixelCNNEstimator):
    pass


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


@pytest.fixture
def die(monkeypatch):
    """Let the process die in effect right after a number of checkpoints."""

    def after(n_checkpoints):
        left = [n_checkpoints]
        write = files.write

        def write_and_die(*args):
            write(*args)
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        monkeypatch.setattr(files, "write", write_and_die)

    return after


def maf(**params):
    given = {"hidden_sizes": (6,), "random_state": 0, "max_epochs": 6}
    return OftenMAF(n_layers=2, **given | params)


def glow(**params):
    return OftenGlow(n_layers=1, n_channels=4, max_epochs=4, random_state=0, **params)


def pixelcnn(**params):
    return OftenPixelCNN(n_layers=2, n_channels=4, max_epochs=4, random_state=0, **params)


HASTY = {"n_iter_no_change": 2, "learning_rate": 0.2, "max_epochs": 60}
CASES = {
    "two trials, in the first": (maf(**HASTY), X, 4),
    "two trials, in the second": (maf(**HASTY), X, 10),
    "last epoch": (maf(noise=0), X, 6),
    "without validation": (maf(validation_fraction=0), X, 3),
    "plateaus": (maf(n_iter_no_change=2, learning_rate=0.2, noise=0.1), X, 2),
    "float32": (maf(dtype="float32"), X, 3),
    "muon": (maf(optimizer="muon", hidden_sizes=(40, 40)), X, 3),
    "images, annealed": (glow(), IMAGES, 2),
    "variational": (glow(dequantization="variational"), IMAGES, 3),
    "contrast": (pixelcnn(conditional=True, contrast=5.0), IMAGES, 3),
}


@pytest.mark.parametrize("name", CASES)
def test_a_fit_that_died_ends_as_if_it_had_not(name, path, die, monkeypatch):
    est, x, n_checkpoints = CASES[name]
    y = LABELS if est.conditional else None
    alone = copy.deepcopy(est).fit(x, y)
    die(n_checkpoints)
    with pytest.raises(Killed):
        copy.deepcopy(est).fit(x, y, checkpoint=path)
    monkeypatch.undo()
    assert path.exists()
    went_on = copy.deepcopy(est).fit(x, y, checkpoint=path)
    assert not path.exists()
    assert np.array_equal(went_on.score_samples(x), alone.score_samples(x))
    assert went_on.history_.train_nats == alone.history_.train_nats
    assert went_on.noise_ == alone.noise_
    assert np.all(np.diff(went_on.history_.seconds) > 0)


def test_it_goes_on_and_does_not_begin_anew(path, die, monkeypatch):
    die(5)
    with pytest.raises(Killed):
        maf(noise=0).fit(X, checkpoint=path)
    monkeypatch.undo()
    n_epochs, original = [], Run.epoch
    monkeypatch.setattr(Run, "epoch", lambda run: (n_epochs.append(1), original(run))[1])
    maf(noise=0).fit(X, checkpoint=path)
    assert len(n_epochs) == 1


def test_without_a_seed_the_fit_keeps_its_own(path, die, monkeypatch):
    die(2)
    with pytest.raises(Killed):
        maf(random_state=None).fit(X, checkpoint=path)
    monkeypatch.undo()
    content = path.read_bytes()
    scores = []
    for _ in range(2):
        path.write_bytes(content)
        scores.append(maf(random_state=None).fit(X, checkpoint=path).score_samples(X))
    assert np.array_equal(*scores)


OTHERS = {
    "X": lambda: maf().fit(X + 1, checkpoint=OTHERS["path"]),
    "sample_weight": lambda: maf().fit(X, None, np.r_[2, np.ones(119)], checkpoint=OTHERS["path"]),
    "n_layers": lambda: maf().set_params(n_layers=3).fit(X, checkpoint=OTHERS["path"]),
    "random_state": lambda: maf(random_state=1).fit(X, checkpoint=OTHERS["path"]),
    "estimator": lambda: MADEEstimator(random_state=0).fit(X, checkpoint=OTHERS["path"]),
}


@pytest.fixture
def stopped(path, die, monkeypatch):
    """The checkpoint of a fit that died."""
    die(1)
    with pytest.raises(Killed):
        maf().fit(X, checkpoint=path)
    monkeypatch.undo()
    return path


def test_a_checkpoint_of_another_fit_is_refused_and_kept(stopped):
    content = stopped.read_bytes()
    OTHERS["path"] = stopped
    for name, fit in OTHERS.items():
        if name != "path":
            with pytest.raises(CheckpointError, match=f"with other .*{name}.*remove it"):
                fit()
    assert stopped.read_bytes() == content
    maf(verbose=1).fit(X, checkpoint=stopped)  # which changes nothing but what is shown


def test_a_warm_start_has_a_checkpoint_of_its_own(path, die, monkeypatch):
    warm = maf(warm_start=True).fit(X)
    alone = copy.deepcopy(warm).fit(X)
    die(3)
    with pytest.raises(Killed):
        warm.fit(X, checkpoint=path)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="weights at the start"):
        maf(warm_start=True).fit(X, checkpoint=path)
    assert np.array_equal(warm.fit(X, checkpoint=path).score_samples(X), alone.score_samples(X))


def test_paths_that_cannot_be_a_checkpoint(path, tmp_path):
    MADEEstimator().save(path)
    with pytest.raises(ModelFileError, match="holds a model, not a checkpoint"):
        maf().fit(X, checkpoint=path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        maf().fit(X, checkpoint=tmp_path / "nowhere" / "fit")


def test_a_full_disk_only_warns(path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    alone = maf().fit(X)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.warns(CheckpointWarning, match="no space left.*goes on"):
        est = maf().fit(X, checkpoint=path)
    assert np.array_equal(est.score_samples(X), alone.score_samples(X))


def test_an_interrupt_leaves_the_checkpoint(path, monkeypatch):
    original = Run.epoch

    def interrupted(run):
        if run.history.n_epochs == 3:
            raise KeyboardInterrupt
        original(run)

    monkeypatch.setattr(Run, "epoch", interrupted)
    with pytest.warns(InterruptedFitWarning):
        maf().fit(X, checkpoint=path)
    monkeypatch.undo()
    went_on = maf().fit(X, checkpoint=path)
    assert np.array_equal(went_on.score_samples(X), maf().fit(X).score_samples(X))


def test_a_trial_that_diverged_is_remembered(path, die, monkeypatch):
    original = Trainer.fit

    def diverging(self, *args, **kwargs):
        if not self.noise:
            raise DivergenceError("diverged")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "fit", diverging)
    alone = maf().fit(X)
    die(2)
    with pytest.raises(Killed):
        maf().fit(X, checkpoint=path)
    monkeypatch.setattr(Trainer, "fit", original)  # it must not be tried again
    monkeypatch.setattr(files, "write", lambda *_: None)
    went_on = maf().fit(X, checkpoint=path)
    assert np.array_equal(went_on.score_samples(X), alone.score_samples(X))


FIT = """
import sys, numpy as np
from densekit import MAFEstimator
class Often(MAFEstimator):
    def _trainer(self, noise):
        trainer = super()._trainer(noise)
        trainer.checkpoint_seconds = 0.0
        return trainer
X = np.random.default_rng(0).normal(size=(120, 2))
est = Often(n_layers=2, hidden_sizes=(6,), max_epochs=10**6, n_iter_no_change=10**6,
    noise=0, random_state=0)
est.fit(X, checkpoint=sys.argv[1])
"""


@pytest.mark.slow
def test_kill_9(path):
    """A fit without end is killed; where it stood is where a fit of so many epochs stands."""
    with subprocess.Popen([sys.executable, "-c", FIT, str(path)]) as process:
        while not path.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    plain, tensors = files.read(path, "checkpoint")
    n_epochs = len(plain["run"]["history"]["train_nats"])
    again = maf(max_epochs=n_epochs, noise=0, n_iter_no_change=10**6).fit(X)
    assert plain["run"]["history"]["train_nats"] == again.history_.train_nats
    best = np.concatenate([p.detach().numpy().ravel() for p in again.density_.parameters()])
    assert np.array_equal(tensors["run.best_weights"].numpy(), best)
