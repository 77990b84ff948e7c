"""Larger than memory: `densekit score` over a Parquet file, watched from outside, and killed."""

from __future__ import annotations

import contextlib
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

N_FEATURES = 8
ROWS_AT_ONCE = 250_000
TRAINING_ROWS = 20_000
CHECKED_EVERY = 5_003  # rows whose scores are compared with those of the estimator itself
FIT = ("--model", "realnvp", "--set", "n_layers=4", "--set", "hidden_sizes=[32]")
POLL_SECONDS = 0.1


def measure(n_rows: int, n_kills: int, row_group: int, threads: int) -> dict[str, Any]:
    """Make a file, score it under a watch, compare rows, and kill the command at random moments."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, model, out = folder / "rows.parquet", folder / "model.densekit", folder / "s.parquet"
        train = _write_rows(data, n_rows, row_group)
        train.to_parquet(folder / "train.parquet")
        _run("fit", folder / "train.parquet", *FIT, "--set", "max_epochs=5", "--out", model)
        process = _start(threads, "score", model, data, "--out", out)
        peak, seconds, writing, code = _watch(process, folder)
        found = _compare(model, data, out) if code == 0 else {}
        kills = [_kill(folder, model, data, writing, threads) for _ in range(n_kills)]
        return {
            "n_rows": n_rows,
            "n_features": N_FEATURES,
            "row_group": row_group,
            "threads": threads,
            "n_bytes": data.stat().st_size,
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "exit_code": code,
            "peak_bytes": peak,
            "seconds": seconds,
            "writing_seconds": writing,
            **found,
            "kills": kills,
        }


def _write_rows(path: Path, n_rows: int, row_group: int) -> pd.DataFrame:
    """Correlated columns with a curve, written piece by piece; returns rows to fit."""
    names = [f"x{i}" for i in range(N_FEATURES)]
    rng, writer, first = np.random.default_rng(0), None, pd.DataFrame()
    size = max(ROWS_AT_ONCE, row_group)
    for start in range(0, n_rows, size):
        z = rng.normal(size=(min(size, n_rows - start), N_FEATURES))
        z[:, 1:] += 0.5 * z[:, :-1] ** 2
        frame = pd.DataFrame(z, columns=names)
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if writer is None:
            first, writer = frame.iloc[:TRAINING_ROWS].copy(), pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=row_group)
    if writer is not None:
        writer.close()
    return first


def _command(*words: object) -> list[str]:
    return [sys.executable, "-m", "densekit.cli", "--quiet", *map(str, words)]


def _run(*words: object) -> None:
    subprocess.run(_command(*words), check=True)


def _start(threads: int, *words: object) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(_command(*words), env=environment)


def _watch(process: subprocess.Popen[bytes], folder: Path) -> tuple[int, float, float, int]:
    """Peak resident memory as Linux counts it, seconds in all and of writing, the exit code."""
    start, peak, begun = time.perf_counter(), 0, None
    while process.poll() is None:
        peak = max(peak, _peak_bytes(process.pid))
        if begun is None and _is_writing(process.pid, folder):
            begun = time.perf_counter()
        time.sleep(POLL_SECONDS)
    end = time.perf_counter()
    return peak, end - start, end - (begun or end), process.returncode


def _is_writing(pid: int, folder: Path) -> bool:
    """Whether a process has a draft open, which has no name where Linux lets it."""
    found = []
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(os.readlink(link))
    drafts = (f"{folder.resolve()}/#", f"{folder.resolve()}/.densekit-")
    return any(target.startswith(drafts) for target in found)


def _n_drafts(folder: Path) -> int:
    return len(list(folder.glob(".densekit-*.tmp")))


def _peak_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return max((1024 * int(x.split()[1]) for x in lines if x.startswith("VmHWM")), default=0)


def _compare(model: Path, data: Path, out: Path) -> dict[str, Any]:
    """Count the scores, and compare some with those of the rows at the same places."""
    import densekit

    scores = pq.read_table(out).column(0).to_numpy()
    fitted, n_done, n_checked, n_equal = densekit.load(model), 0, 0, 0
    for batch in pq.ParquetFile(data, pre_buffer=False).iter_batches(ROWS_AT_ONCE):
        places = np.arange(-n_done % CHECKED_EVERY, batch.num_rows, CHECKED_EVERY)
        rows = batch.take(pa.array(places)).to_pandas()
        n_equal += int((fitted.score_samples(rows) == scores[n_done + places]).sum())
        n_checked += len(places)
        n_done += batch.num_rows
    return {"n_scores": len(scores), "n_checked": n_checked, "n_equal": n_equal}


def _kill(folder: Path, model: Path, data: Path, writing: float, threads: int) -> dict[str, Any]:
    """Interrupt a run while it writes; say what is there afterwards, and after a next run."""
    out = folder / "killed.csv"
    out.write_text("old")
    kind = random.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    process = _start(threads, "score", model, data, "--out", out)
    while process.poll() is None and not _is_writing(process.pid, folder):
        time.sleep(POLL_SECONDS)
    after = random.uniform(0.0, writing)
    time.sleep(after)
    process.send_signal(kind)
    process.wait()
    text = out.read_text()
    is_whole = text == "old" or text.count("\n") == 1 + pq.ParquetFile(data).metadata.num_rows
    left = _n_drafts(folder)
    _run("score", model, folder / "train.parquet", "--out", out)
    still = _n_drafts(folder)
    return {
        "signal": kind.name,
        "after_seconds": after,
        "exit_code": process.returncode,
        "was_finished": text != "old",
        "is_output_whole": is_whole,
        "n_temporary": left,
        "n_temporary_after_next": still,
    }
