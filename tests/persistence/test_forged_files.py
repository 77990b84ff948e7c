"""Files under attack: little memory, little time, and errors of densekit's own."""

import copy
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import forged
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import densekit
from densekit import MADEEstimator, MAFEstimator
from densekit.exceptions import DensekitError, ModelFileError, NotAModelFileError
from densekit.persistence import container as files
from densekit.training.trainer import Trainer

pytestmark = pytest.mark.slow

MAX_SECONDS, BYTES_PER_BYTE, MORE_BYTES = 10.0, 10, 100 * 10**6
X = np.random.default_rng(0).normal(size=(60, 2))
SMALL = MADEEstimator(hidden_sizes=(3,), n_components=2, max_epochs=2, random_state=0).fit(X)
FLOW = MAFEstimator(hidden_sizes=(4,), n_layers=2, max_epochs=2, random_state=0).fit(X)
LOAD_ALL = Path(__file__).parents[1] / "load_all.py"
PRIME = 2**61 - 1  # whole multiples of it have the hash 0


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """What a small MADE and a small MAF are in a file."""
    path = tmp_path_factory.mktemp("stored") / "model"
    found = {}
    for name, model in {"made": SMALL, "maf": FLOW}.items():
        model.save(path)
        found[name] = files.read(path, "model")
    return found


def texts(n_empty, width):
    return {"is": "texts", "shape": [n_empty + 1], "items": ["x" * width] + [""] * n_empty}


def numbered(values):
    return {f"a{i}_": value for i, value in enumerate(values)}


def dict_of(keys):
    return {"is": "dict", "items": [[key, 0] for key in keys]}


def tuple_of(items):
    return {"is": "tuple", "items": list(items)}


def with_attributes(values):
    return lambda whole, tensors: whole["estimator"]["attributes"].update(values)


def with_parameters(**values):
    return lambda whole, tensors: whole["estimator"]["parameters"].update(values)


def naming_one_array(n_times):
    def change(whole, tensors):
        tensors.append(("big", "U8", [2**21], bytes(2**21)))
        value = {"is": "array", "tensor": "big", "dtype": "|u1"}
        whole["estimator"]["attributes"].update(numbered([value] * n_times))

    return change


def buying_steps(whole, tensors):
    tensors += [(f"x{i}", "F32", [0], b"") for i in range(11_000)]
    whole["estimator"]["parameters"].update(n_layers=20_000)


def many_small(whole, tensors):
    tensors += [(f"x{i}", "U8", [1], b"1") for i in range(30_000)]
    whole["estimator"]["parameters"].update(n_layers=200_000)


def rows_of(n_features, **parameters):
    """A model of long rows, for which the file holds enough numbers."""

    def change(whole, tensors):
        tensors.append(("big", "F32", [n_features], bytes(4 * n_features)))
        whole["estimator"]["density"].update(event_shape=[n_features], preprocessing=[])
        whole["estimator"]["parameters"].update(parameters)

    return change


def many_parts(whole, tensors):
    """Parts with weights that go through all tensors, one after the other."""
    tensors += [(f"x{i}.y", "U8", [1], b"1") for i in range(20_000)]
    part = {"is": "instance", "group": "bases", "name": "normal", "distribution": "densekit"}
    part |= {"args": [tuple_of([2])], "options": {}}
    parts = [part | {"weights": f"x{i}"} for i in range(10_000)]
    whole["estimator"]["attributes"]["a_"] = parts


def nan_weights(value):
    def change(whole, tensors):
        place = next(i for i, t in enumerate(tensors) if t[0].endswith("output.bias"))
        name, dtype, shape, values = tensors[place]
        numbers = np.frombuffer(values, np.float64).copy()
        numbers[0] = value
        tensors[place] = (name, dtype, shape, numbers.tobytes())

    return change


CLASS = {"is": "class", "group": "bases", "name": "normal", "distribution": "densekit"}
DESCRIPTIONS = {
    "texts, one of them wide": with_attributes(numbered([texts(20_000, 800)] * 30)),
    "texts, each array below the limit": with_attributes(numbered([texts(4000, 4000)] * 100)),
    "one array named often": naming_one_array(2500),
    "keys of one hash": with_attributes({"a_": dict_of(i * PRIME for i in range(150_000))}),
    "keys of one hash, floats": with_attributes(
        {"a_": dict_of(float(2**61 * i) for i in range(100_000))}
    ),
    "keys of one hash, tuples": with_attributes(
        {"a_": dict_of(tuple_of([-1 - (i >> k & 1) for k in range(14)]) for i in range(2**13))}
    ),
    "a shape of many sizes": with_attributes(
        {"a_": {"is": "objects", "shape": [2] * 10**6, "items": []}}
    ),
    "a shape of long sizes": with_attributes(
        {"a_": {"is": "objects", "shape": [10**90] * 30, "items": []}}
    ),
    "rows of many sizes": lambda whole, _: whole["estimator"]["density"].update(
        event_shape=[2] * 10**6
    ),
    "empty tensors for building steps": buying_steps,
    "small tensors for building steps": many_small,
    "layers": with_parameters(n_layers=10**6),
    "long rows, many layers": rows_of(2**18, n_layers=1000, hidden_sizes=tuple_of([1])),
    "long rows, many hidden layers": rows_of(2**20, n_layers=1, hidden_sizes=tuple_of([1] * 900)),
    "a long range": with_parameters(hidden_sizes={"is": "range", "items": [1, 2**20, 1]}),
    "many ranges": with_attributes(
        {"a_": [{"is": "range", "items": [0, 2**20, 1]} for _ in range(50_000)]}
    ),
    "many lists": lambda whole, _: whole["estimator"]["attributes"].update(a_=[[]] * 2_000_000),
    "many objects": lambda whole, _: whole.update(more=[{}] * 2_000_000),
    "many numbers": with_attributes({"a_": [1.5] * 1_500_000}),
    "many classes": with_attributes({"a_": [CLASS] * 50_000}),
    "many names without a class": with_attributes({"a_": [CLASS | {"name": "x" * 10**6}] * 3}),
    "parts with weights": many_parts,
    "a long float": with_attributes({"a_": {"is": "float", "value": "1" * 4 * 10**6}}),
    "a float that is none": with_attributes({"a_": {"is": "float", "value": [1]}}),
    "NaN among the weights": nan_weights(np.nan),
    "infinity among the weights": nan_weights(np.inf),
    "an unused tensor": lambda whole, tensors: tensors.append(("more", "F32", [1], bytes(4))),
    "an array of names": with_attributes({"a_": {"is": "array", "tensor": ["x"], "dtype": "<f8"}}),
    "plugins": lambda whole, _: whole.update(plugins={"x" * 10**6: "y" * 10**6}),
    "random state": with_attributes(
        {
            "a_": {
                "is": "random_state",
                "state": {
                    "is": "dict",
                    "items": [
                        ["bit_generator", "MT19937"],
                        ["state", {"is": "dict", "items": [["key", [1] * 624], ["pos", 10**6]]}],
                        ["has_gauss", 0],
                        ["gauss", 0.0],
                    ],
                },
            }
        }
    ),
}
BROKEN = "a number of 4,300 digits", "a number of a million digits", "1e999", "many dimensions"


def write_broken(name, path, whole, tensors):
    if name == "1e999":
        text = json.dumps(whole).replace('"attributes": {', '"attributes": {"a_": 1e999, ', 1)
        forged.write(path, text, tensors)
    elif name == "many dimensions":
        shape = "[" + ",".join(["1"] * 10**6) + "]"
        forged.write(path, whole, [*tensors, ("x", "U8", shape, b"1")])
    else:
        digits = "9" * (4300 if "4,300" in name else 10**6)
        entry = f'"x":{{"dtype":"U8","shape":[1],"data_offsets":[0,{digits}]}}'
        forged.write(path, whole, tensors, entries=[entry])


def test_whatever_a_file_says_it_takes_little_memory_and_time(stored, tmp_path):
    SMALL.save(tmp_path / "good")
    made = []
    for name, change in DESCRIPTIONS.items():
        description, tensors = stored["maf"]
        whole, given_tensors = copy.deepcopy(description), forged.plain(tensors)
        change(whole, given_tensors)
        made.append(tmp_path / name)
        forged.write(made[-1], whole, given_tensors)
    for name in BROKEN:
        made.append(tmp_path / name)
        write_broken(
            name, made[-1], stored["made"].description, forged.plain(stored["made"].tensors)
        )
    command = [sys.executable, LOAD_ALL, tmp_path / "good", *made]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    results = [json.loads(line) for line in found.stdout.splitlines()]
    assert [result["path"] for result in results] == list(map(str, [tmp_path / "good", *made]))
    assert results[0]["error"] is None
    wrong = {}
    for result in results[1:]:
        size = os.stat(result["path"]).st_blocks * 512
        kind, text = result["error"] or ("nothing", "")
        is_right = (
            result["seconds"] < MAX_SECONDS
            and result["bytes"] < BYTES_PER_BYTE * size + MORE_BYTES
            and not kind.startswith("foreign")
            and len(text) < 1000
        )
        if not is_right:
            wrong[Path(result["path"]).name] = result | {"size": size}
    assert not wrong
    taken = {Path(r["path"]).name for r in results[1:] if r["error"] is None}
    assert taken <= {
        "many ranges",
        "many numbers",
        "many classes",
    }  # which are as large as they say


def test_sparse_files_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "sparse"
    entry = '"x":{"dtype":"U8","shape":[5368709120],"data_offsets":[0,5368709120]}'
    forged.write(path, {}, entries=[entry])
    n_bytes = path.stat().st_size + 5 * 2**30
    os.truncate(path, n_bytes)
    with open(path, "rb") as file:
        if os.lseek(file.fileno(), 0, os.SEEK_HOLE) >= n_bytes:
            pytest.skip("this file system does not tell of holes")
    with pytest.raises(ModelFileError, match="sparse"):
        densekit.load(path)


@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_refused_without_opening_it(tmp_path):
    pipe, sock = tmp_path / "pipe", tmp_path / "socket"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(sock))
        for path in (pipe, sock, tmp_path, "/dev/zero", "/dev/null"):
            with pytest.raises(NotAModelFileError, match="expected a file"):
                densekit.load(path)
            with pytest.raises((OSError, NotAModelFileError)):
                MAFEstimator(max_epochs=1).fit(X, checkpoint=path)


def test_a_file_of_the_system_without_end_is_no_model():
    with pytest.raises(ModelFileError):
        densekit.load("/proc/self/status")


# ---- any change

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.sampled_from([-1, 0, 1, 2**20, 2**31, 2**53, 2**63, 1.5, 1e308, -1e-320])
    | st.text(max_size=8)
    | st.sampled_from(["density_", "maf", "normal", "densekit", "<f8", "float64", "is", "support_"])
)
KINDS = st.sampled_from(
    ("float", "tuple", "dict", "range", "dtype", "array", "scalar", "objects", "texts", "class")
) | st.sampled_from(("random_state", "record", "name", "instance", "estimator"))
NAME_TYPES = st.sampled_from(("date", "Timestamp", "Timedelta", "Period", "Interval"))
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=6), inner, max_size=3)
        | st.builds(lambda k, v: {"is": k, "value": v, "items": v, "tensor": v}, KINDS, inner)
        | st.builds(lambda v: {"is": "tuple", "items": [v, v]}, inner)
        | st.builds(lambda k, v: {"is": "name", "type": k, "args": v}, NAME_TYPES, inner)
    ),
    max_leaves=12,
)


def nodes(value, path=()):
    """The paths of all values inside a value."""
    if isinstance(value, dict):
        inner = value.items()
    else:
        inner = enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from nodes(item, (*path, key))


def changed(value, draw):
    """A copy in which a few values are others, gone, or those of another place."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(nodes(value))))
        parent = value
        for key in path[:-1]:
            parent = parent[key]
        match draw(st.integers(0, 4)):
            case 0:
                del parent[path[-1]]
            case 1:
                other = draw(st.sampled_from(list(nodes(value))))
                source = value
                for key in other:
                    source = source[key]
                parent[path[-1]] = copy.deepcopy(source)
            case _:
                parent[path[-1]] = draw(VALUES)
        if not list(nodes(value)):
            break
    return value


def changed_tensors(tensors, draw):
    tensors = list(tensors)
    if not tensors or draw(st.booleans()):
        return tensors
    place = draw(st.integers(0, len(tensors) - 1))
    name, dtype, shape, values = tensors[place]
    match draw(st.integers(0, 4)):
        case 0:
            del tensors[place]
        case 1:
            tensors.append((f"{name}x", dtype, shape, values))
        case 2:
            tensors[place] = (name, "U8", [len(values)], values)
        case 3:
            noise = draw(st.binary(min_size=1, max_size=32))
            n_bytes = len(values)
            tensors[place] = (name, dtype, shape, (noise * (n_bytes // len(noise) + 1))[:n_bytes])
        case 4:
            tensors[place] = (name, dtype, [0], b"")
    return tensors


def ends_well(action):
    """Do something that may raise an error of densekit's own, with a short message."""
    message = ""
    try:
        action()
    except DensekitError as error:
        message = str(error)
    assert len(message) < 1000


QUICK = settings(
    max_examples=int(os.environ.get("N_FORGED", "60")),
    deadline=10_000,
    suppress_health_check=list(HealthCheck),
)


@QUICK
@given(data=st.data(), name=st.sampled_from(["made", "maf"]))
def test_any_description_loads_or_is_an_error_of_its_own(stored, tmp_path_factory, data, name):
    description, tensors = stored[name]
    path = tmp_path_factory.getbasetemp() / "any"
    whole = changed(description, data.draw)
    forged.write(path, whole, changed_tensors(forged.plain(tensors), data.draw))
    ends_well(lambda: densekit.load(path))


@QUICK
@given(data=st.data())
def test_any_header_is_an_error_of_its_own(stored, tmp_path_factory, data):
    description, tensors = stored["made"]
    path = tmp_path_factory.getbasetemp() / "header"
    forged.write(path, description, forged.plain(tensors))
    content = path.read_bytes()
    n_bytes = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n_bytes])
    text = header.pop("__metadata__")
    header = changed(header, data.draw)
    header["__metadata__"] = text
    text["densekit"] = text["densekit"].replace(json.loads(text["densekit"])["sha256"], "0" * 64)
    forged.sealed(path, json.dumps(header).encode(), content[8 + n_bytes :])
    ends_well(lambda: densekit.load(path))


# ---- checkpoints


class Killed(BaseException):
    pass


def estimator(**params):
    return MAFEstimator(
        hidden_sizes=(4,), n_layers=1, max_epochs=4, learning_rate=0.1, random_state=0, **params
    )


@pytest.fixture(scope="module", params=["in the first trial", "in the second trial"])
def checkpoint(request, tmp_path_factory):
    """The content of a checkpoint that a killed fit left."""
    path = tmp_path_factory.mktemp("checkpoint") / "fit"
    params = {"n_iter_no_change": 1} if request.param == "in the second trial" else {}
    n_left = [5 if params else 2]
    write, is_due = files.write, Trainer.checkpoint_seconds

    def write_and_die(*args):
        write(*args)
        n_left[0] -= 1
        if not n_left[0]:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "write", write_and_die)
        patch.setattr("densekit.training.checkpoint.Checkpoint.is_due", lambda self, seconds: True)
        with pytest.raises(Killed):
            estimator(**params).fit(X, checkpoint=path)
    assert is_due == Trainer.checkpoint_seconds
    found = files.read(path, "checkpoint")
    assert bool(found.description["trials"].get("runs")) == bool(params)
    return params, found


def test_a_checkpoint_that_is_whole_is_taken(checkpoint, tmp_path):
    params, (description, tensors) = checkpoint
    forged.write(tmp_path / "fit", description, forged.plain(tensors), kind="checkpoint")
    found = estimator(**params).fit(X, checkpoint=tmp_path / "fit")
    assert np.array_equal(found.score_samples(X), estimator(**params).fit(X).score_samples(X))


@QUICK
@given(data=st.data())
def test_any_checkpoint_goes_on_or_is_an_error_of_its_own(checkpoint, tmp_path_factory, data):
    params, (description, tensors) = checkpoint
    path = tmp_path_factory.getbasetemp() / "fit"
    whole = changed(description, data.draw)
    given_tensors = changed_tensors(forged.plain(tensors), data.draw)
    forged.write(path, whole, given_tensors, kind="checkpoint")
    ends_well(lambda: estimator(**params).fit(X, checkpoint=path))
