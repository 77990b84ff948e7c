"""What the budget of loading takes an operation to allocate is never less than it does."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from densekit.exceptions import AlteredFileError
from densekit.persistence import budget


class Asked(TorchDispatchMode):
    """Holds what operations allocate against what the budget says of them."""

    n_asked = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        estimate = budget._bytes_of_result(func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        if not func.is_view and not func._schema.is_mutable:
            self.n_asked += 1
            tensors = result if isinstance(result, tuple | list) else [result]
            assert estimate >= sum(t.nbytes for t in tensors), func
        return result


SMALL, WIDE = torch.ones(3, 1), torch.ones(1, 50)
FLAGS = torch.ones(1, dtype=torch.bool).expand(1000)
CALLS = {
    "broadcast": lambda: SMALL + WIDE,
    "comparison": lambda: SMALL > WIDE,
    "promotion": lambda: FLAGS + torch.ones(1000, dtype=torch.float64),
    "scalar": lambda: FLAGS * 2.5,
    "complex": lambda: torch.complex(SMALL.double(), SMALL.double()) * WIDE,
    "two results": lambda: torch.frexp(torch.ones(1000, dtype=torch.float64)),
    "joined": lambda: torch.cat([FLAGS, torch.ones(1, dtype=torch.float64)]),
    "all": lambda: (torch.all(FLAGS), torch.all(SMALL, 0)),
    "choice": lambda: torch.where(SMALL > 0, WIDE, 1.0),
    "list": lambda: torch._foreach_add([SMALL, WIDE], 1.0),
    "conversion": lambda: FLAGS.to(torch.float64),
    "product": lambda: SMALL @ WIDE,
    "sorted": lambda: torch.sort(torch.rand(1000)),
}


@pytest.mark.parametrize("name", CALLS)
def test_estimates_are_no_less_than_what_is_allocated(name):
    with Asked() as asked:
        CALLS[name]()
    assert asked.n_asked


def test_only_what_is_held_counts_against_the_allowance():
    allowance = budget.Allowance(0)
    before = allowance._n_left
    with budget.Budget(allowance, []):
        held = [torch.zeros(2**20) for _ in range(2)]
        views = [tensor[1:] for tensor in held]
        assert before - allowance._n_left == 2 * 2**22
        for _ in range(30):  # more in all than is allowed at once
            torch.ones(2**20)
        layer = torch.nn.Linear(2**10, 2**10)
        assert before - allowance._n_left >= 3 * 2**22
        del held
        assert before - allowance._n_left >= 3 * 2**22  # the views hold the memory
        del views, layer
    assert allowance._n_left == before


def test_more_than_is_allowed_at_once_is_refused():
    n_allowed = budget.HELD_BYTES_AT_LEAST // 2**22
    with budget.Budget(budget.Allowance(0), []):
        held = [torch.ones(2**20) for _ in range(n_allowed)]
        with pytest.raises(AlteredFileError, match="memory"):
            torch.ones(2**20)
    assert len(held) == n_allowed
