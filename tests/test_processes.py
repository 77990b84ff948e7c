"""Other processes: forked children compute, damaged tables do not end them."""

import os
import random
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

FORK = """
import os, warnings
import numpy as np, torch, densekit
warnings.simplefilter("ignore")
torch.set_num_threads(2)
draw = np.random.default_rng(0)
if {name!r} == "pixelcnn":
    X = draw.integers(0, 2, size=(300, 12, 12))
    model = densekit.PixelCNNEstimator(max_epochs=1, n_layers=2, n_channels=8, random_state=0)
else:
    X = draw.normal(size=(20_000, 8)).astype(np.float32)
    model = densekit.make_estimator({name!r}, max_epochs=1, random_state=0, dtype="float32")
expected = model.fit(X).score_samples(X)  # with two threads
child = os.fork()
if child == 0:
    found = model.score_samples(X)
    model.sample(200, random_state=0)
    model.fit(X[:2000])
    os._exit(0 if np.allclose(found, expected, atol=1e-5) else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert torch.get_num_threads() == 2
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("name", ["maf", "pixelcnn"])
def test_a_forked_child_scores_draws_and_fits(name):
    command = [sys.executable, "-c", FORK.format(name=name)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert found.returncode == 0, found.stderr


READ = """
import sys
from densekit.cli.io.readers import open_table
from densekit.exceptions import TableError
n_refused = 0
for path in sys.argv[1:]:
    try:
        for chunk in open_table(path).chunks(5):
            repr(chunk)
    except TableError as error:
        n_refused += 1
        assert len(str(error)) < 1000, len(str(error))
    except Exception as error:
        raise AssertionError(f"{path} ends in {type(error).__name__}") from error
print(n_refused)
"""


def test_damaged_feather_files_end_in_short_errors(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import feather

    texts = [f"row {i} " * (i % 7) for i in range(40)]
    table = pa.table({"a": [0.5 * i for i in range(40)], "text": texts, "kind": texts})
    table = table.set_column(2, "kind", table["kind"].dictionary_encode())
    path = tmp_path / "table.feather"
    feather.write_feather(table, str(path), compression="uncompressed", chunksize=15)
    content, draw, damaged = path.read_bytes(), random.Random(0), []
    for i in range(200):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(8, len(content))] = draw.choice([0, 1, 127, 255])
        damaged.append(tmp_path / f"{i}.feather")
        damaged[-1].write_bytes(changed)
    command = [sys.executable, "-c", READ, *damaged]
    found = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    assert int(found.stdout) > 10
