"""Coverage-guided fuzzing with atheris: `python -m tests.fuzz http --seconds 60`.

What it finds is written to a file named `crash-...`, `timeout-...` or `oom-...`; put it into the corpus
once it is fixed, and the ordinary tests hold it for ever.
"""

import argparse
import faulthandler
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import atheris

CORPUS = Path(__file__).parent / "corpus"
SLOW = 5  # seconds of processor time
HANGS = 60  # seconds

with atheris.instrument_imports(include=["trio_upgrade", "h11"]):
    from .targets import TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", type=Path, help="a folder for what it finds interesting")
    args = parser.parse_args()
    keep = args.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    keep.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={args.seconds}", "-rss_limit_mb=1024", "-max_len=2000"]
    atheris.Setup([sys.argv[0], *options, str(keep), str(CORPUS / args.target)], bounded(TARGETS[args.target]))
    atheris.Fuzz()


def bounded(target: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """A hang is a failure."""

    def run(data: bytes) -> None:
        begin = time.process_time()
        faulthandler.dump_traceback_later(HANGS, exit=True)
        target(data)
        faulthandler.cancel_dump_traceback_later()
        assert time.process_time() - begin < SLOW, data

    return run


main()
