"""Model files that were damaged or made to harm, and kills in the middle of saving and fitting.

Needs an operating system with fork, kill and address-space limits, such as Linux.
"""

from __future__ import annotations

import copy
import os
import pickle
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import densekit
from densekit import ImageGlowEstimator, MADEEstimator, NSFEstimator, PixelCNNEstimator
from densekit.exceptions import DensekitError
from densekit.persistence import container as files
from densekit.persistence.storage import KIND

GIGABYTE = 2**30
# What a file must never bring about; the interpreter tells of each of these.
WATCHED = {"exec", "compile", "pickle.find_class", "os.system", "subprocess.Popen", "os.exec"}
HOSTILE_VALUES: tuple[Any, ...] = (
    10**9, -1, 2**63, 10**30, 1e308, None, True, "", "os:system", "../../etc/passwd", [], {},
    [10**9, 10**9], ["reverse"] * 10_000, {"is": "tuple", "items": [2**40]}, {"is": "nothing"},
    {"is": "range", "items": [0, 10**12, 1]}, {"is": "dtype", "value": "(1000000000,)f8"},
    {"is": "float", "value": "nan"}, {"is": "array", "tensor": "none", "dtype": "<f8"},
    {"is": "class", "group": "estimators", "name": "os:system", "distribution": "posix"},
    {"is": "record", "type": "Popen", "fields": {"args": "true"}},
)  # fmt: skip


def measure(flips: int, saves: int, fits: int, seed: int) -> dict[str, Any]:
    """Run all trials; counts of what came of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = _models(folder)
        result: dict[str, Any] = {"seed": seed, "clock": "CPU", "damage": []}
        for path in models:
            for kind, damage in _DAMAGES.items():
                trials = damage(path, flips // len(models), random.Random(seed))
                found = _in_limits(partial(_try_all, trials, folder / "damaged"))
                result["damage"].append({"model": path.stem, "kind": kind, **found})
        result["saves"] = _kill_saves(models[0], saves, folder, random.Random(seed))
        result["fits"] = [_kill_fits(*case, fits, folder, random.Random(seed)) for case in _fits()]
    return result


def _models(folder: Path) -> list[Path]:
    """Small models, each in a file of its own."""
    draw = np.random.default_rng(0)
    table, images = draw.normal(size=(100, 2)), draw.integers(0, 4, (50, 4, 4))
    small: dict[str, Any] = {"max_epochs": 2, "random_state": 0}
    made = {
        "nsf": NSFEstimator(n_layers=2, n_bins=4, hidden_sizes=(8,), **small).fit(table),
        "made": MADEEstimator(hidden_sizes=(8,), **small).fit(table),
        "pixelcnn": PixelCNNEstimator(n_layers=2, n_channels=4, **small).fit(images),
        "glow": ImageGlowEstimator(n_layers=1, n_channels=4, **small).fit(images),
    }
    paths = [folder / f"{name}.densekit" for name in made]
    for path, model in zip(paths, made.values(), strict=True):
        model.save(path)
    return paths


def _flips(path: Path, n_trials: int, draw: random.Random) -> Iterator[bytes]:
    content = path.read_bytes()
    for _ in range(n_trials):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= draw.randrange(1, 256)
        yield bytes(damaged)


def _truncations(path: Path, n_trials: int, draw: random.Random) -> Iterator[bytes]:
    content = path.read_bytes()
    for _ in range(n_trials // 4):
        yield content[: draw.randrange(len(content))]


def _hostile_descriptions(path: Path, n_trials: int, draw: random.Random) -> Iterator[bytes]:
    """One value somewhere in the description replaced, under a checksum that is right."""
    description, tensors = files.read(path, KIND)
    target = path.with_suffix(".hostile")
    for _ in range(n_trials // 4):
        changed = copy.deepcopy(description)
        place, key = draw.choice(list(_places(changed)))
        place[key] = draw.choice(HOSTILE_VALUES)
        files.write(target, KIND, changed, tensors)
        yield target.read_bytes()


def _hostile_headers(path: Path, n_trials: int, draw: random.Random) -> Iterator[bytes]:
    """Made by hand: sizes, nesting and tensors that lie."""
    content = path.read_bytes()
    n_bytes = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + n_bytes], content[8 + n_bytes :]
    for size in (0, 1, 2**23, 2**23 + 1, 2**31, 2**63, 2**64 - 1):
        yield size.to_bytes(8, "little") + header + data
    entry = b'"x":{"dtype":"F64","shape":%b,"data_offsets":[0,%d]}'
    texts = [
        b"[" * 2**22,
        b'{"a":' * 10**6,
        b'{"__metadata__":{"densekit":"' + b"[" * 10**6 + b'"}}',
        b'{"__metadata__":{"densekit":{}}}',
        b'{"__metadata__":7}',
        b"{" + b",".join(b'"%d":{}' % i for i in range(10**5)) + b"}",
        b'{"x":1' + b"0" * 10**5 + b"}",
        b"{" + entry % (b"[1000000000000]", 8 * 10**12) + b"}",
        header.replace(b'"shape":[', b'"shape":[4294967296,4294967296,', 1),
        header.replace(b'"data_offsets":[0', b'"data_offsets":[-8', 1),
        header.replace(b'"F64"', b'"F8_E4M3"', 1),
        pickle.dumps(os.system),
    ]
    for text in texts:
        yield len(text).to_bytes(8, "little") + text + data


_DAMAGES: dict[str, Callable[[Path, int, random.Random], Iterator[bytes]]] = {
    "flipped byte": _flips,
    "truncated": _truncations,
    "hostile value, right checksum": _hostile_descriptions,
    "hostile header": _hostile_headers,
}


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in nested lists and objects."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _try_all(trials: Iterator[bytes], path: Path) -> dict[str, Any]:
    """Load each damaged file; count what comes of it."""
    outcomes: Counter[str] = Counter()
    heard: set[str] = set()
    is_loading = False

    def listen(event: str, _: Any) -> None:
        if is_loading and event in WATCHED:
            heard.add(event)

    sys.addaudithook(listen)
    slowest, least = 0.0, _peak_bytes()
    for content in trials:
        path.write_bytes(content)
        start, is_loading = time.process_time(), True
        try:
            densekit.load(path)
            outcomes["loaded"] += 1
        except DensekitError as error:
            outcomes[type(error).__name__] += 1
        except Exception as error:
            outcomes[f"foreign: {type(error).__name__}"] += 1
        is_loading = False
        slowest = max(slowest, time.process_time() - start)
    grown = _peak_bytes() - least
    return {"outcomes": outcomes, "executed": sorted(heard), "slowest": slowest, "grown": grown}


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _in_limits(work: Callable[[], Any]) -> dict[str, Any]:
    """Work in a process that may take a gigabyte more than it has."""

    def limited() -> Any:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + GIGABYTE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return work()

    reader, writer = os.pipe()
    child = _fork(lambda: os.write(writer, pickle.dumps(limited())))
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    status = os.waitpid(child, 0)[1]
    found: dict[str, Any] = pickle.loads(answer) if answer else {"outcomes": {"crashed": 1}}
    return {**found, "status": status}


def _fork(work: Callable[[], Any]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _kill_saves(model: Path, n_kills: int, folder: Path, draw: random.Random) -> dict[str, Any]:
    """Kill a process that saves two models in turn; what is left must be one of them."""
    old, new = densekit.load(model), densekit.load(model)
    new.set_params(learning_rate=0.5)
    path, outcomes = folder / "killed.densekit", Counter[str]()
    start = time.perf_counter()
    old.save(path)
    seconds = time.perf_counter() - start
    rows = np.random.default_rng(1).normal(size=(50, 2))
    scores = old.score_samples(rows)

    def save_for_ever() -> None:
        while True:
            new.save(path)
            old.save(path)

    for _ in range(n_kills):
        child = _fork(save_for_ever)
        time.sleep(draw.uniform(0, 4 * seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = densekit.load(path)
        is_right = np.array_equal(found.score_samples(rows), scores)
        outcomes[f"{'old' if found.learning_rate != 0.5 else 'new'}" if is_right else "other"] += 1
    n_drafts = len(list(folder.glob(".killed.densekit.*")))
    return {"kills": n_kills, "outcomes": outcomes, "drafts_left": n_drafts}


class _OftenWritten:
    """An estimator that writes its checkpoint after every epoch."""

    def _trainer(self, noise: float) -> Any:
        trainer = super()._trainer(noise)  # type: ignore[misc]
        trainer.checkpoint_seconds = 0.0
        return trainer


class _NSF(_OftenWritten, NSFEstimator):
    pass


class _Glow(_OftenWritten, ImageGlowEstimator):
    pass


def _fits() -> Iterator[tuple[str, Any, NDArray[Any]]]:
    draw = np.random.default_rng(0)
    nsf = _NSF(n_layers=2, hidden_sizes=(16,), max_epochs=15, random_state=0)
    yield "NSF, two trials", nsf, draw.normal(size=(200, 2))
    glow = _Glow(n_layers=1, n_channels=4, max_epochs=10, random_state=0)
    yield "Glow on images", glow, draw.integers(0, 4, (60, 4, 4))


def _kill_fits(
    name: str, model: Any, X: NDArray[Any], n_fits: int, folder: Path, draw: random.Random
) -> dict[str, Any]:
    """Kill fits twice at random moments, let them end, and compare with one left alone."""
    start = time.perf_counter()
    expected = model.fit(X).score_samples(X)
    seconds = time.perf_counter() - start
    path, out = folder / "checkpoint", folder / "scores.npy"
    n_same = n_kills = n_resumed = 0

    def fit() -> None:
        np.save(out, model.fit(X, checkpoint=path).score_samples(X))

    for _ in range(n_fits):
        out.unlink(missing_ok=True)
        for _ in range(2):
            child = _fork(fit)
            time.sleep(draw.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
            n_kills += os.waitpid(child, 0)[1] == signal.SIGKILL
            n_resumed += path.exists()
        os.waitpid(_fork(fit), 0)
        n_same += bool(np.array_equal(np.load(out), expected))
    left = [left.name for left in folder.iterdir() if "checkpoint" in left.name]
    return {
        "name": name, "fits": n_fits, "kills": n_kills, "resumed": n_resumed,
        "same": n_same, "left": left,
    }  # fmt: skip
