import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small matrices on two test processes are fastest with a thread each."""
    torch.set_num_threads(1)
