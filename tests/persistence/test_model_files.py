"""Model files: what is saved comes back, and nothing else does."""

import copy
import itertools
import json
import os
import pickle
import random
import signal
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone

import densekit
from densekit import (
    FlowEstimator,
    GlowEstimator,
    IAFEstimator,
    ImageGlowEstimator,
    ImageRealNVPEstimator,
    MADEEstimator,
    MAFEstimator,
    NICEEstimator,
    NSFEstimator,
    PixelCNNEstimator,
    RealNVPEstimator,
    persistence,
    registry,
)
from densekit.densities import StudentT
from densekit.elementwise import Affine, Spline
from densekit.exceptions import (
    AlteredFileError,
    MissingPluginError,
    ModelFileError,
    NewerFormatError,
    NotAModelFileError,
    TruncatedFileError,
    UnsavableError,
)
from densekit.persistence import container as files
from densekit.transforms import Chain, Coupling, Permutation

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(80, 3))
LABELS = np.array(["a", "b", "cc"])[DRAW.integers(0, 3, 80)]
IMAGES = DRAW.integers(0, 4, (40, 4, 4))
FRAME = pd.DataFrame(X.astype(np.float32), columns=["x", "y", "z"])
FAST = {"max_epochs": 2, "random_state": 0}
TINY = {"hidden_sizes": (5, 4), **FAST}
LAYERS = [
    "actnorm",
    ("coupling", {"mask": [True, False, True], "elementwise": Spline(3)}),
    Coupling,
    Permutation.random((3,)),
    "permute",
    "linear",
    ("autoregressive", {"order": "random", "hidden_sizes": [6]}),
    "inverse_autoregressive",
]
CASES = {
    "nsf": (NSFEstimator(**TINY), X, None),
    "nsf couplings": (NSFEstimator(autoregressive=False, n_bins=4, **TINY), X, None),
    "float32": (NSFEstimator(dtype="float32", **TINY), X, None),
    "instances": (
        MAFEstimator(elementwise=Spline(4, 3.0), base=StudentT((3,), df=5.0), **TINY),
        X,
        None,
    ),
    "class": (RealNVPEstimator(elementwise=Affine, base="mixture", **TINY), X, None),
    "uniform base": (MAFEstimator(base="uniform", **TINY), X, None),
    "labels": (IAFEstimator(conditional=True, **TINY), X, LABELS),
    "numbers": (MADEEstimator(conditional=True, **TINY), X, X[:, :2] ** 2),
    "support": (NICEEstimator(support={0: "positive", 2: (0, 9)}, **TINY), abs(X), None),
    "bits": (MADEEstimator(likelihood="bernoulli", **TINY), X > 0, None),
    "layers": (FlowEstimator(layers=LAYERS, **FAST), X, None),
    "no layers": (FlowEstimator(layers=[], **FAST), X, None),
    "pandas": (GlowEstimator(n_layers=2, **TINY), FRAME, None),
    "polars": (NSFEstimator(n_layers=1, **TINY), pl.DataFrame({"u": X[:, 0], "v": X[:, 1]}), None),
    "pixelcnn": (PixelCNNEstimator(n_layers=2, n_channels=4, **FAST), IMAGES, None),
    "image flow": (ImageGlowEstimator(n_layers=1, n_channels=4, **FAST), IMAGES, None),
    "images of images": (
        ImageRealNVPEstimator(n_channels=4, dequantization="variational", conditional=True, **FAST),
        IMAGES,
        IMAGES[:, ::2, ::2],
    ),
    "random state": (NICEEstimator(max_epochs=1, random_state=np.random.RandomState(1)), X, None),
}


@pytest.fixture(scope="module")
def fitted():
    return {name: clone(est).fit(x, y) for name, (est, x, y) in CASES.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.densekit"


def assert_same(found, expected, x, y):
    assert type(found) is type(expected)
    assert vars(found).keys() == vars(expected).keys()
    assert found.history_ == expected.history_
    assert np.array_equal(found.score_samples(x, y), expected.score_samples(x, y))
    ours, theirs = (est.sample(len(x), random_state=0, y=y) for est in (found, expected))
    assert type(ours) is type(theirs)
    assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    assert np.asarray(ours).dtype == np.asarray(theirs).dtype


@pytest.mark.parametrize("name", CASES)
def test_scores_and_samples_come_back_bit_for_bit(name, fitted, path):
    _, x, y = CASES[name]
    fitted[name].save(path)
    assert_same(densekit.load(path), fitted[name], x, y)


@pytest.mark.parametrize("name", ["nsf", "layers", "image flow", "labels"])
@pytest.mark.parametrize("keep", ["pickle", "joblib", "deepcopy"])
def test_other_ways_to_keep_an_estimator(name, keep, fitted, path):
    _, x, y = CASES[name]
    est = fitted[name]
    if keep == "joblib":
        joblib.dump(est, path)
        found = joblib.load(path)
    else:
        found = copy.deepcopy(est) if keep == "deepcopy" else pickle.loads(pickle.dumps(est))
    assert_same(found, est, x, y)


def test_attributes_and_parameters_survive(fitted, path):
    est = fitted["pandas"]
    est.save(path)
    found = densekit.load(path)
    assert found.feature_names_in_.tolist() == ["x", "y", "z"]
    assert found.support_.tolist() == est.support_.tolist()
    assert repr(found) == repr(est)
    fitted["labels"].save(path)
    found = densekit.load(path)
    assert found.classes_.tolist() == ["a", "b", "cc"]
    assert np.array_equal(found.class_log_proba(X), fitted["labels"].class_log_proba(X))
    fitted["instances"].save(path)
    found = densekit.load(path)
    assert (found.elementwise.n_bins, found.elementwise.bound) == (4, 3.0)
    again = clone(found).fit(X)
    assert np.array_equal(again.score_samples(X), fitted["instances"].score_samples(X))


def test_a_loaded_estimator_goes_on_as_the_saved_one_would(fitted, path):
    for name in ("nsf", "image flow"):
        _, x, _ = CASES[name]
        est = copy.deepcopy(fitted[name]).set_params(warm_start=True)
        est.save(path)
        found = densekit.load(path).fit(x)
        assert np.array_equal(found.score_samples(x), est.fit(x).score_samples(x))


def test_parameters_may_change_after_the_fit(fitted, path):
    est = copy.deepcopy(fitted["nsf"]).set_params(hidden_sizes=(9,), n_layers=7, verbose=1)
    est.save(path)
    found = densekit.load(path)
    assert_same(found, fitted["nsf"], X, None)
    assert (found.n_layers, found.hidden_sizes) == (7, (9,))
    found.save(path)
    assert_same(densekit.load(path), fitted["nsf"], X, None)


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        (MAFEstimator, X),
        (NSFEstimator, X),
        (GlowEstimator, X),
        (ImageGlowEstimator, IMAGES),
        (ImageRealNVPEstimator, IMAGES),
        (PixelCNNEstimator, IMAGES),
    ],
    ids=lambda value: getattr(value, "__name__", None) or f"{value.ndim}d",
)
def test_what_auto_meant_is_in_the_file(kind, rows, path, monkeypatch):
    estimator = kind(max_epochs=1, random_state=0).fit(rows)
    estimator.save(path)
    monkeypatch.setattr(kind, "_sizes", lambda self: pytest.fail("a file asks what auto means"))
    loaded = densekit.load(path)
    np.testing.assert_array_equal(loaded.score_samples(rows), estimator.score_samples(rows))


def test_an_estimator_that_is_not_fitted(path):
    MAFEstimator(n_layers=3, support=[(0.0, np.inf), "real"]).save(path)
    found = densekit.load(path)
    assert not hasattr(found, "density_")
    assert found.get_params()["support"] == [(0.0, np.inf), "real"]


def test_two_files_of_one_model_are_equal(fitted, tmp_path):
    for name in ("a", "b"):
        fitted["layers"].save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_file_says_what_it_holds(fitted, path):
    fitted["nsf"].save(path)
    found = persistence.describe(path)
    assert found["estimator"]["name"] == "nsf"
    assert set(found["versions"]) == {"densekit", "torch", "numpy", "scikit-learn"}
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:  # any reader of safetensors opens it
        assert "support_" in file.keys()  # noqa: SIM118


STORED = sorted((Path(__file__).parents[1] / "model_files").glob("*/*.densekit"))


@pytest.mark.parametrize("stored", STORED, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_files_of_every_format_open_for_ever(stored):
    expected = json.loads(stored.with_suffix(".json").read_text())
    found = densekit.load(stored).score_samples(np.array(expected["rows"]))
    np.testing.assert_allclose(found, expected["scores"], rtol=1e-5)


def test_the_present_format_has_stored_files():
    names = {p.stem for p in STORED if p.parent.name == str(files.FORMAT)}
    assert names == {"nsf", "made", "pixelcnn"}


@pytest.mark.parametrize("parameter", [{"layers": [Chain([Coupling((3,))])]}, {"base": object()}])
def test_what_cannot_be_saved_is_named(parameter, path):
    path.write_text("as it was")
    with pytest.raises(UnsavableError, match=next(iter(parameter))):
        FlowEstimator(**parameter).save(path)
    assert path.read_text() == "as it was"


def test_a_class_without_a_name_is_refused_until_it_has_one(path, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})

    class Own(Affine):
        pass

    est = MAFEstimator(elementwise=Own(2.0), n_layers=1, **TINY).fit(X)
    with pytest.raises(UnsavableError, match=r"elementwise is .*Own.*densekit\.register"):
        est.save(path)
    registry.register("elementwise", "own", Own)
    est.save(path)
    assert_same(densekit.load(path), est, X, None)
    registry._registered.clear()
    with pytest.raises(MissingPluginError, match=r"'own'.*densekit\.register"):
        densekit.load(path)


# ---- damage

SMALL = MADEEstimator(hidden_sizes=(3,), n_components=2, **FAST).fit(X[:30, :2])


@pytest.fixture
def content(path):
    SMALL.save(path)
    return path.read_bytes()


def test_every_flipped_byte_is_found(content, path):
    draw = random.Random(0)
    for _ in range(300):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= draw.randrange(1, 256)
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError):
            densekit.load(path)


def test_every_truncation_is_found(content, path):
    for size in (*range(60), *range(60, len(content), 151), len(content) - 1):
        path.write_bytes(content[:size])
        expected = NotAModelFileError if size < 9 else TruncatedFileError
        with pytest.raises(expected, match=r"model\.densekit"):
            densekit.load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(AlteredFileError, match="added"):
        densekit.load(path)


@pytest.mark.parametrize("other", [b"", b"PK\3\4" + b"x" * 99, pickle.dumps(print), b"a,b\n1,2\n"])
def test_other_files_are_no_model_files(other, path):
    path.write_bytes(other)
    with pytest.raises(NotAModelFileError, match="no file of densekit's"):
        densekit.load(path)


def test_files_that_are_not_there_or_of_another_kind(path):
    with pytest.raises(FileNotFoundError):
        densekit.load(path)
    files.write(path, "checkpoint", {}, {})
    with pytest.raises(NotAModelFileError, match="holds a checkpoint, not a model"):
        densekit.load(path)
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(2)}, path)
    with pytest.raises(NotAModelFileError, match="none of densekit's"):
        densekit.load(path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such folder.*gone'$"):
        SMALL.save(tmp_path / "gone" / "model.densekit")


def test_a_newer_format_says_so(path, monkeypatch):
    monkeypatch.setattr(files, "FORMAT", 3)
    SMALL.save(path)
    monkeypatch.undo()
    with pytest.raises(NewerFormatError, match=r"format 3.*install a newer densekit"):
        densekit.load(path)


def rewritten(path, change):
    """A file whose description was changed, under a checksum that is right."""
    SMALL.save(path)
    description, tensors = files.read(path, "model")
    change(description["estimator"], tensors, description)
    files.write(path, "model", description, tensors)
    return path


def test_a_missing_plugin_is_named(path):
    rewritten(path, lambda est, tensors, whole: whole["plugins"].update({"flows-of-x": "1.2"}))
    with pytest.raises(MissingPluginError, match=r"'flows-of-x' \(version 1\.2\)"):
        densekit.load(path)
    rewritten(path, lambda est, tensors, whole: est.update(name="gone"))
    with pytest.raises(MissingPluginError, match="'gone'"):
        densekit.load(path)


def pairs(*items):
    return {"is": "tuple", "items": list(items)}


HOSTILE = {
    "wide": lambda est, *_: est["parameters"].update(hidden_sizes=pairs(10**9, 10**9)),
    "wide enough to fit": lambda est, *_: est["parameters"].update(hidden_sizes=pairs(900_000)),
    "deep": lambda est, *_: est["parameters"].update(hidden_sizes=pairs(*[1] * 100_000)),
    "components": lambda est, *_: est["parameters"].update(n_components=10**9),
    "rows": lambda est, *_: est["density"].update(event_shape=[10**12]),
    "context": lambda est, *_: est["density"].update(context_shape=[10**6, 10**6]),
    "parameter": lambda est, *_: est["parameters"].update(likelihood="other"),
    "unknown parameter": lambda est, *_: est["parameters"].update(speed=3),
    "method": lambda est, *_: est["attributes"].update(score_samples=3),
    "dunder": lambda est, *_: est["attributes"].update(__class__=3),
    "dtype": lambda est, *_: est["density"].update(dtype="int64"),
    "kind": lambda est, *_: est["attributes"].update(a_={"is": "eval", "value": "1"}),
    "range": lambda est, *_: est["attributes"].update(a_={"is": "range", "items": [0, 10**12, 1]}),
    "texts": lambda est, *_: est["attributes"].update(
        a_={"is": "texts", "shape": [1001], "items": ["x" * 10**6, *["y"] * 1000]}
    ),
    "module": lambda est, *_: est.update(name="os:system", distribution="posix"),
    "no estimator": lambda est, tensors, whole: whole.update(estimator=[]),
    "lost tensor": lambda est, tensors, _: tensors.pop("density_.model.network.output.bias"),
    "other shape": lambda est, tensors, _: tensors.update(
        {"density_.model.network.output.bias": tensors["support_"]}
    ),
    "more tensors": lambda est, tensors, _: tensors.update({"density_.x": tensors["support_"]}),
    "nested": lambda est, *_: est["parameters"].update(base=json.loads("[" * 400 + "]" * 400)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_descriptions_are_refused(name, path):
    rewritten(path, HOSTILE[name])
    with pytest.raises(ModelFileError, match=r"model\.densekit"):
        densekit.load(path)


@pytest.mark.parametrize("name", CASES)
def test_indices_that_the_model_does_not_have_are_refused(name, fitted, path):
    fitted[name].save(path)
    description, tensors = files.read(path, "model")
    whole = {key: t for key, t in tensors.items() if t.dtype == torch.int64 and t.numel()}
    one_of_a_name = {key.rpartition(".")[2]: (key, t) for key, t in whole.items()}
    for (key, tensor), value in zip(one_of_a_name.values(), itertools.cycle([10**12, -5, 33])):
        files.write(path, "model", description, tensors | {key: torch.full_like(tensor, value)})
        try:
            loaded = densekit.load(path)
        except ModelFileError:
            continue
        assert "n_bins" in key  # which is bounded where it is used
        _, x, y = CASES[name]
        loaded.score_samples(x, y)


def test_hostile_headers_are_refused(content, path):
    n_bytes = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + n_bytes], content[8 + n_bytes :]
    headers = [
        b"[" * 10**6,
        b'{"a":' * 10**6,
        header.replace(b'"F64"', b'"F32"', 1),
        header.replace(b'"shape":[', b'"shape":[4294967296,4294967296,', 1),
        header.replace(b'"data_offsets":[0', b'"data_offsets":[-1', 1),
        b'{"x":{"dtype":"F64","shape":[1000000000000],"data_offsets":[0,8000000000000]}}',
        b'{"__metadata__":{"densekit":"' + b"[" * 10**6 + b'"}}',
        b'{"__metadata__":{"densekit":"{}"}}',
        b'{"__metadata__":{"densekit":"{}","densekit":"{}"}}',
    ]
    for text in headers:
        path.write_bytes(len(text).to_bytes(8, "little") + text + data)
        with pytest.raises(ModelFileError):
            densekit.load(path)
    for size in (0, 2**23 + 1, 2**40, 2**64 - 1):
        path.write_bytes(size.to_bytes(8, "little") + header + data)
        with pytest.raises(NotAModelFileError):
            densekit.load(path)


# ---- writing

SAVE_FOR_EVER = """
import sys, densekit
model, path = densekit.load(sys.argv[1]), sys.argv[1]
print("ready", flush=True)
for i in range(10**9):
    model.set_params(learning_rate=1.0 + i % 2).save(path)
"""


@pytest.mark.slow
def test_a_kill_leaves_the_old_file_or_the_new_one(content, path):
    draw = random.Random(0)
    command = [sys.executable, "-c", SAVE_FOR_EVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        try:
            process.wait(draw.uniform(0.05, 0.3))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
    found = densekit.load(path)
    assert found.learning_rate in (SMALL.learning_rate, 1.0, 2.0)
    assert np.array_equal(found.score_samples(X[:, :2]), SMALL.score_samples(X[:, :2]))


def test_a_failed_save_leaves_the_old_file_and_no_draft(content, path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        SMALL.save(path)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]
    with pytest.raises(FileNotFoundError):
        SMALL.save(path.parent / "no folder" / "model")


def test_saving_through_a_link_keeps_the_link(content, path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    SMALL.save(link)
    assert link.is_symlink()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "model",
    [
        MADEEstimator(max_epochs=1, random_state=0),
        NSFEstimator(n_layers=2, hidden_sizes=(128, 128), n_bins=32, max_epochs=1, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_large_models_come_back(model, path):
    rows = np.random.default_rng(0).normal(size=(30, 300))
    model.fit(rows).save(path)
    assert np.array_equal(densekit.load(path).score_samples(rows), model.score_samples(rows))
