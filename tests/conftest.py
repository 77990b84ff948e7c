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

# Checks of the kit that fit models of their own: seconds, for each estimator and detector.
FITTING = {
    "check_bad_input_leaves_the_fit_untouched",
    "check_constant_column",
    "check_few_rows_give_a_density",
    "check_more_of_scikit_learn",
    "check_one_column",
    "check_one_column_has_a_mass_of_one",
    "check_one_wild_cell_leaves_scores_finite",
    "check_refit_is_repeatable",
    "check_repeated_rows_keep_their_share",
    "check_scikit_learn",
    "check_units",
    "check_weights",
}


def pytest_itemcollected(item):
    check = item.callspec.params.get("check") if hasattr(item, "callspec") else None
    if getattr(check, "__name__", "") in FITTING:
        item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small matrices on two test processes are fastest with a thread each."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    """Tests draw the same numbers whichever tests ran before them."""
    torch.manual_seed(0)
