"""Load each file that is named, and print what it took: ``python load_all.py FILE...``."""

import ctypes
import json
import sys
import time
import warnings

import densekit
from densekit.exceptions import DensekitError


def kilobytes(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))


def measure(path):
    ctypes.CDLL(None).malloc_trim(0)  # memory that was freed counts no longer
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forget the highest memory so far
    before, start = kilobytes("VmRSS"), time.process_time()
    try:
        densekit.load(path)
        error = None
    except DensekitError as caught:
        error = type(caught).__name__, str(caught)
    except BaseException as caught:  # what should not come
        error = f"foreign {type(caught).__name__}", str(caught)[:300]
    seconds = time.process_time() - start
    return {"seconds": seconds, "bytes": 1024 * (kilobytes("VmHWM") - before), "error": error}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    densekit.load(sys.argv[1])  # imports and compiles
    for path in sys.argv[1:]:
        sys.stdout.write(json.dumps({"path": path} | measure(path)) + "\n")
