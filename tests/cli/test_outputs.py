"""Where results go: no input is replaced, files are there whole or not at all, streams too."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from densekit.cli.io import outputs
from densekit.cli.io.outputs import check_no_input_is_replaced
from densekit.cli.io.writers import open_writer
from densekit.exceptions import OutputError
from densekit.persistence.replacing import replacing


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a\n1\n")
    return path


def spellings(path):
    """Other paths of the same file."""
    link, hard, through = (path.with_name(name) for name in ("link.csv", "hard.csv", "folder"))
    link.symlink_to(path.name)
    os.link(path, hard)
    through.symlink_to(path.parent)
    chain = path.with_name("chain.csv")
    chain.symlink_to(link)
    return [
        path,
        link,
        hard,
        chain,
        through / path.name,
        path.parent / "." / ".." / path.parent.name / path.name,
        os.path.relpath(path),
    ]


def test_an_output_that_is_an_input_is_refused_by_any_spelling(data):
    for path in spellings(data):
        with pytest.raises(OutputError, match=r"--out .* is DATA .* itself"):
            check_no_input_is_replaced({"--out": path}, {"MODEL": None, "DATA": data})
        with pytest.raises(OutputError, match="itself"):
            check_no_input_is_replaced({"--out": data}, {"DATA": path})
    assert data.read_text() == "a\n1\n"
    check_no_input_is_replaced({"--out": data.with_name("new.csv")}, {"DATA": data})
    check_no_input_is_replaced({"--out": "-"}, {"DATA": data})


def test_two_outputs_are_two_files(tmp_path):
    same = {"--out": tmp_path / "m", "--checkpoint": tmp_path / "." / "m"}
    with pytest.raises(OutputError, match="one file"):
        check_no_input_is_replaced(same, {})


REDIRECTED = """
import sys
from densekit.cli.io.outputs import check_no_input_is_replaced
check_no_input_is_replaced({"--out": sys.argv[1]}, {"DATA": sys.argv[2]})
"""


@pytest.mark.slow
def test_standard_streams_count_as_the_files_behind_them(data):
    for out, source, redirection in (
        ("-", "rows.csv", ">> rows.csv"),
        ("rows.csv", "-", "< rows.csv"),
        ("rows.csv", "/dev/stdin", "< rows.csv"),
    ):
        command = f"{sys.executable} -c '{REDIRECTED}' {out} {source} {redirection}"
        found = subprocess.run(
            command, check=False, shell=True, capture_output=True, text=True, cwd=data.parent
        )
        assert "itself" in found.stderr, redirection
    assert data.read_text() == "a\n1\n"


@pytest.mark.parametrize("length", [200, 244, 255])
def test_names_as_long_as_the_system_allows_can_be_written(tmp_path, length):
    for letter in ("x", "ü"):
        name = (letter * length).encode()[: length - 4].decode(errors="ignore") + ".csv"
        with open_writer(tmp_path / name) as writer:
            writer.write(np.zeros((1, 1)))
        assert (tmp_path / name).exists()
    assert len(os.listdir(tmp_path)) == 2


def test_an_old_file_keeps_its_permissions(data):
    for mode in (0o600, 0o640, 0o755):
        data.chmod(mode)
        with replacing(data) as file:
            file.write(b"new")
        assert data.stat().st_mode & 0o777 == mode


MANY = """
import sys
from densekit.persistence.replacing import replacing
from pathlib import Path
for i in range(150):
    with replacing(Path(sys.argv[1])) as file:
        file.write(sys.argv[2].encode() * 1000)
"""


@pytest.mark.slow
def test_processes_that_write_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "rows.csv"
    commands = [[sys.executable, "-c", MANY, str(path), letter] for letter in "abc"]
    running = [subprocess.Popen(c, stderr=subprocess.PIPE, text=True) for c in commands]
    for process in running:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    content = path.read_text()
    assert content in {letter * 1000 for letter in "abc"}
    assert os.listdir(tmp_path) == ["rows.csv"]


WRITE = """
import sys, numpy as np
from densekit.cli.io.writers import open_writer
with open_writer("-") as writer:
    writer.write(np.zeros((20_000, 2)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("target", ["> /dev/full", "> limited.csv"])
def test_standard_output_is_written_whole_or_fails(tmp_path, unbuffered, target):
    command = f"ulimit -f 20; {sys.executable} -c '{WRITE}' {target}"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    found = subprocess.run(
        command,
        check=False,
        shell=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert found.returncode == 1
    assert "OutputError: Standard output cannot be written" in found.stderr
    assert "Exception ignored" not in found.stderr


@pytest.mark.parametrize("target", [">/dev/full", ">&-"])
@pytest.mark.parametrize(
    "words", ["--help", "--version", "--quiet plugins", "fit --help", "demo --help", ""]
)
def test_what_only_prints_ends_in_one_line_where_it_cannot(words, target):
    found = subprocess.run(
        f"{sys.executable} -m densekit.cli {words} {target}",
        check=False,
        shell=True,
        capture_output=True,
        text=True,
    )
    assert found.returncode != 0
    (line,) = found.stderr.splitlines()
    assert line.startswith("densekit ")
    assert "Standard output" in line


class Short:
    """A raw stream that takes three bytes at a time."""

    def __init__(self):
        self.content = b""

    def write(self, data):
        self.content += bytes(data[:3])
        return min(3, len(data))

    def flush(self):
        pass


def test_short_writes_are_gone_on_with(monkeypatch):
    stream = Short()
    monkeypatch.setattr(
        sys, "stdout", type("Stream", (), {"buffer": stream, "flush": Short.flush})()
    )
    with open_writer("-") as writer:
        writer.write(pd.DataFrame({"a": [1, 22, 333]}))
    assert stream.content == b"a\n1\n22\n333\n"


def test_closed_standard_output_is_an_error_before_any_work(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputError, match="Standard output is closed"), open_writer("-"):
        pass


def test_a_file_that_is_no_table_does_not_go_to_standard_output():
    with pytest.raises(OutputError, match="does not go to standard output"):
        outputs.check_place(Path("-"))


FIT = ("--set", "n_layers=1", "--set", "hidden_sizes=[8]", "--set", "n_iter_no_change=100000")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    values = np.random.default_rng(0).normal(size=(3000, 4))
    pd.DataFrame(values, columns=list("abcd")).to_csv(path, index=False)
    return path


def started(words, log, sign="fitting", **options):
    """A command that has begun its work, by what its log says."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "densekit.cli", *map(str, words)], stderr=file, **options
        )
    for _ in range(600):
        if sign in log.read_text() or process.poll() is not None:
            break
        time.sleep(0.1)
    time.sleep(1.0)
    return process


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_fit_that_is_ended_leaves_the_old_model_and_no_drafts(rows, tmp_path, number, code):
    model, log = tmp_path / "m.densekit", tmp_path / "log"
    model.write_text("an old model")
    process = started(("fit", rows, *FIT, "--max-epochs", 100_000, "--out", model), log)
    process.send_signal(number)
    assert process.wait(60) == code
    assert model.read_text() == "an old model"
    assert sorted(os.listdir(tmp_path)) == ["log", "m.densekit"]
    assert ("interrupted; nothing was written" in log.read_text()) == (code == 130)


@pytest.mark.slow
def test_a_hang_up_that_is_ignored_stays_ignored(rows, tmp_path):
    words = ("fit", rows, *FIT, "--max-epochs", 40, "--out", tmp_path / "m.densekit")
    process = started(
        words, tmp_path / "log", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    process.send_signal(signal.SIGHUP)
    assert process.wait(120) == 0


@pytest.mark.slow
def test_comparisons_end_when_they_are_interrupted(rows, tmp_path):
    words = ("compare", rows, "--model", "nsf", *FIT, "--set", "max_epochs=100000")
    process = started(words, tmp_path / "log", "held out", stdout=subprocess.DEVNULL)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
