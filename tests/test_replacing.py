"""Writing files: whole or not at all, and nothing of others is touched."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import densekit
from densekit import MADEEstimator
from densekit.estimators import fitting
from densekit.exceptions import ModelFileError
from densekit.persistence import container as files
from densekit.persistence.replacing import replacing

X = np.random.default_rng(0).normal(size=(60, 2))
SMALL = MADEEstimator(hidden_sizes=(3,), n_components=2, max_epochs=2, random_state=0).fit(X)


@pytest.fixture(params=["without a name", "with a name", "where links are forbidden"])
def path(request, tmp_path, monkeypatch):
    """Ways in which a draft is written."""

    def fail(*_, **__):
        raise PermissionError("forbidden")

    if request.param == "with a name":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif request.param == "where links are forbidden":
        monkeypatch.setattr(os, "link", fail)
    return tmp_path / "model.densekit"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("before", [0o600, 0o640, 0o644, 0o666])
def test_an_old_file_keeps_its_mode(path, before):
    path.write_text("old")
    path.chmod(before)
    with replacing(path) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
        file.write(b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", before)


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_mode_of_any_new_file(path, umask, expected):
    old = os.umask(umask)
    try:
        SMALL.save(path)
    finally:
        os.umask(old)
    assert mode(path) == expected


def test_names_may_be_as_long_as_the_system_allows(path):
    longest = path.with_name("x" * 255)
    SMALL.save(longest)
    SMALL.save(longest)
    assert os.listdir(path.parent) == [longest.name]
    assert densekit.load(longest).score(X) == SMALL.score(X)


def test_what_is_no_regular_file_is_not_replaced(path):
    path.mkdir()
    with pytest.raises(OSError, match="folder"):
        SMALL.save(path)
    pipe = path.parent / "pipe"
    os.mkfifo(pipe)
    for target in (pipe, path.parent / "link to a pipe"):
        if target != pipe:
            target.symlink_to(pipe)
        with pytest.raises(OSError, match="pipe"):
            SMALL.save(target)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(OSError, match="device"):
        SMALL.save("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_links_are_written_through(path):
    link = path.parent / "link"
    link.symlink_to(path.name)  # to nothing yet
    SMALL.save(link)
    SMALL.save(link)
    assert link.is_symlink()
    assert not path.is_symlink()
    assert densekit.load(path).score(X) == SMALL.score(X)


def test_an_error_leaves_the_old_file_and_nothing_else(path):
    path.write_text("old")

    def write():
        with replacing(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == [path.name]


def test_a_fit_with_a_checkpoint_removes_nothing_of_others(tmp_path):
    others = [".fit.0123456789abcdef.tmp", ".fit.notes.tmp", ".densekit-0a.tmp", "fit.tmp", ".fit."]
    for name in others:
        (tmp_path / name).write_text("mine")
    model = MADEEstimator(hidden_sizes=(3,), max_epochs=2, random_state=0)
    model.fit(X, checkpoint=tmp_path / "fit")
    assert sorted(os.listdir(tmp_path)) == sorted(others)


def test_a_checkpoint_that_another_wrote_in_the_meantime_stays(tmp_path, monkeypatch):
    model = MADEEstimator(hidden_sizes=(3,), max_epochs=2, random_state=0)
    train = fitting.fit_best

    def write_and_train(*args, **options):
        (tmp_path / "fit").write_text("of another")
        return train(*args, **options)

    monkeypatch.setattr(fitting, "fit_best", write_and_train)
    model.fit(X, checkpoint=tmp_path / "fit")
    assert (tmp_path / "fit").read_text() == "of another"


SAVE_OFTEN = """
import sys, threading, densekit
path, n_threads, n_times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
models = [densekit.load(path).set_params(learning_rate=1.0 + i) for i in range(n_threads)]
print("ready", flush=True)
def save(model):
    for _ in range(n_times):
        model.save(path)
threads = [threading.Thread(target=save, args=[model]) for model in models]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def start(path, n_threads, n_times):
    command = [sys.executable, "-c", SAVE_OFTEN, str(path), str(n_threads), str(n_times)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return process


def test_many_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "model.densekit"
    SMALL.save(path)
    processes = [start(path, 3, 15) for _ in range(2)]
    reads = 0
    while any(process.poll() is None for process in processes):
        files.read(path, "model")  # whole at any moment
        reads += 1
    for process in processes:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    assert reads
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="drafts have names here")
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_process_that_is_ended_leaves_no_draft(kind, tmp_path):
    path = tmp_path / "model.densekit"
    SMALL.save(path)
    process = start(path, 2, 10**9)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(kind)
    process.communicate()
    left = [name for name in os.listdir(tmp_path) if name != path.name]
    assert len(left) <= 1  # only between the file's getting a name and taking the other's place
    assert densekit.load(path).score(X) == SMALL.score(X)


def test_threads_of_one_process_write_whole_files(path):
    models = [densekit.load(saved(path)).set_params(learning_rate=1.0 + i) for i in range(4)]
    threads = [threading.Thread(target=model.save, args=[path]) for model in models * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert densekit.load(path).learning_rate in (1.0, 2.0, 3.0, 4.0)
    assert os.listdir(path.parent) == [path.name]


def saved(path):
    SMALL.save(path)
    return path


def test_what_could_not_be_read_is_not_written(path):
    saved(path)
    before = path.read_bytes()
    with pytest.raises(ModelFileError, match="parts"):
        files.write(path, "model", {"x": [[]] * 300_000}, {})
    with pytest.raises(ModelFileError, match="digits"):
        files.write(path, "model", {"x": 10**200}, {})
    with pytest.raises(ModelFileError, match="bytes"):
        files.write(path, "model", {"x": "x" * 2**23}, {})
    assert path.read_bytes() == before
