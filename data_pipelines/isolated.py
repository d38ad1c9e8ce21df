"""A foreign file is read by a process of its own: an isolated Python without our environment, a folder, a time limit.

The bounds on memory, time and output are set by the worker itself before it reads (`_pickle_worker.py`, and the one of
`hdt-fm import`); this only starts it and waits.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# What a process cannot start without on some platform; nothing else of the environment is handed on.
KEPT = ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TEMP", "TMP")
_SET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
# Its own modules come from where ours do, before what may be installed besides, but after Python's own.
START = """import json, sys
at = next((at for at, place in enumerate(sys.path) if place.endswith("-packages")), len(sys.path))
sys.path[at:at] = [place for place in json.loads(sys.argv.pop()) if place not in sys.path[:at]]
from MODULE import main
main()"""


def read_apart(
    path: Path, folder: Path, *, module: str, bounds: Mapping[str, int], places: Sequence[Path], seconds: int
) -> bool:
    """Whether `main()` of a module ended well, with the file as its input and the folder to write to.

    Args:
        module: Its `main` takes the bounds as JSON from the command line.
        places: Where modules are found that an isolated Python does not see: ours, and libraries that it needs.
        seconds: Of processor time that the worker has; by the clock it is stopped after twice as many.
    """
    start = START.replace("MODULE", module)
    command = [sys.executable, "-I", "-B", "-c", start, json.dumps(dict(bounds)), json.dumps([str(p) for p in places])]
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        with path.open("rb") as handle:
            done = subprocess.run(
                command,
                stdin=handle,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env=environment | _SET,
                timeout=2 * seconds,
                check=False,
            )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
