"""One thread for small work, one for each part of large work, and as many as before behind it."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from densekit import MAFEstimator
from densekit.data import threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_is_as_before(two_threads):
    with threads.one_thread():
        assert torch.get_num_threads() == 1
        assert threads.n_threads() == 2
        with pytest.raises(ZeroDivisionError), threads.one_thread():
            raise ZeroDivisionError
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_threads_of_the_caller_have_counts_of_their_own(two_threads):
    inside, done = threading.Event(), threading.Event()

    def other():
        torch.set_num_threads(2)
        with threads.one_thread():
            inside.set()
            done.wait(timeout=30)
        counts.append(torch.get_num_threads())

    counts = []
    beside = threading.Thread(target=other)
    with threads.one_thread():
        beside.start()
        assert inside.wait(timeout=30)
    counts.append(torch.get_num_threads())
    done.set()
    beside.join()
    assert counts == [2, 2]
    assert torch.get_num_threads() == 2


def test_parts_are_computed_side_by_side_in_their_order_without_gradients(two_threads):
    meeting = threading.Barrier(2, timeout=30)

    def work(part):
        meeting.wait()  # which one thread alone would wait at for ever
        assert not torch.is_grad_enabled()
        assert torch.get_num_threads() == 1
        return part

    assert threads.map_parts(work, [3, 1]) == [3, 1]
    assert torch.get_num_threads() == 2


def test_an_error_in_a_part_is_an_error(two_threads):
    with pytest.raises(ZeroDivisionError):
        threads.map_parts(lambda part: 1 / part, [1, 0, 2])


SCORES = """
import hashlib, warnings
import numpy as np, torch
from densekit import MAFEstimator
warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(9000, 3))
model = MAFEstimator(max_epochs=1, n_layers=2, random_state=0).fit(X[:500])
found = model.score_samples(X), model.sample(9000, random_state=0), model.transform(X)
print(hashlib.sha256(b"".join(value.tobytes() for value in found)).hexdigest())
"""


@pytest.mark.slow
def test_fits_scores_samples_and_latents_do_not_depend_on_threads():
    found = set()
    for n_threads in ("1", "2", "3"):
        environment = os.environ | {"OMP_NUM_THREADS": n_threads}
        command = [sys.executable, "-c", SCORES]
        run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        found.add(run.stdout)
    assert len(found) == 1


def test_a_fit_leaves_the_number_of_threads(two_threads):
    X = np.random.default_rng(0).normal(size=(40, 2))
    MAFEstimator(max_epochs=1, n_layers=1).fit(X).score_samples(X)
    with pytest.raises(ValueError, match="NaN"):
        MAFEstimator().fit(np.full((4, 2), np.nan))
    assert torch.get_num_threads() == 2
