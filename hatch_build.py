"""Builds the compiled loops of `densekit/_kernels/native` where there is a C compiler.

They are a plain shared library without anything of Python's, so that a wheel of a platform serves
every Python. Without a compiler the package is built without them, and takes its plain path.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path(__file__).parent / "densekit" / "_kernels" / "native"
SOURCES = ("kernels.c", "kernels.inc")
ENDING = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
# NaN and infinity keep their meaning; contraction to fused multiply-adds and the sign of zeros
# change the last digit at most, and alike for every element.
FLAGS = (
    *("-std=c11", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast"),
    *("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros"),
)


class NativeLibrary(BuildHookInterface):
    """Compiles the library before a wheel or an editable install is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        library = build()
        if library is None:
            self.app.display_warning(
                "There is no C compiler (set CC to name one): densekit takes its plain path."
            )
            return
        name = f"densekit/_kernels/native/{library.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"
        build_data["force_include"][str(library)] = name


def build() -> Path | None:
    """Compile the library unless it is newer than its sources; None where that cannot be done."""
    library = FOLDER / f"kernels{ENDING}"
    if library.exists() and library.stat().st_mtime > max(
        (FOLDER / name).stat().st_mtime for name in SOURCES
    ):
        return library
    compiler = _compiler()
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        objects = [Path(scratch) / f"{real}.o" for real in ("float", "double")]
        command = [*compiler, *FLAGS, "-c", SOURCES[0]]
        calls = [
            subprocess.Popen([*command, f"-DREAL_{real.stem.upper()}", "-o", real], cwd=FOLDER)
            for real in objects
        ]
        failures = [call.wait() for call in calls]
        if any(failures):
            return None
        draft = Path(scratch) / library.name
        link = [*compiler, "-shared", "-o", str(draft), *map(str, objects)]
        if subprocess.run([*link, "-lm"], check=False).returncode:
            return None
        whole = library.with_name(f"{library.name}.{os.getpid()}")
        shutil.copyfile(draft, whole)
        os.replace(whole, library)  # other builds may look at the same time
    return library


def _compiler() -> list[str] | None:
    """The command of the C compiler: CC, or one of the usual names."""
    named = os.environ.get("CC", "").split()
    for command in ([*named] if named else None, ["cc"], ["gcc"], ["clang"]):
        if command and shutil.which(command[0]):
            return command
    return None


def _platform() -> str:
    """The tag of this platform in the names of wheels."""
    tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return tag if platform.system() != "Darwin" else tag.replace("universal2", platform.machine())
