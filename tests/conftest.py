import os

import hypothesis
import pytest
import torch


class TorchRandom:
    """torch's generator as Hypothesis sees it: seeded anew for each example, so that all repeat."""

    def seed(self, seed):
        torch.manual_seed(seed)

    def getstate(self):
        return torch.get_rng_state()

    def setstate(self, state):
        torch.set_rng_state(state)


torch_random = TorchRandom()  # Hypothesis holds it by a weak reference only
hypothesis.register_random(torch_random)
# The same examples in every run: a red build is the change's doing. "explore" draws others.
hypothesis.settings.register_profile("same", max_examples=40, deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", max_examples=1000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small matrices on two test processes are fastest with a thread each."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    """Tests draw the same numbers whichever tests ran before them."""
    torch.manual_seed(0)
