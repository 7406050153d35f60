"""`python -m benchmarks.speed.servers`: run one of them, until standard input ends."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import threading
from pathlib import Path

from ..machine import pin, raise_descriptors


def end_with_parent() -> None:
    """Whoever started it is gone; the servers that are Python programs go too."""
    while os.read(0, 1024):
        pass
    os._exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.servers", description=__doc__)
    parser.add_argument("--processor", type=int, help="the one to be kept to")
    parser.add_argument("module")
    parser.add_argument("argument", nargs="*")
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    pin(given.processor)
    raise_descriptors()
    if given.module == "node":
        node = shutil.which("node")
        assert node is not None
        os.execv(node, [node, str(Path(__file__).with_name("node.js")), str(given.port)])
    threading.Thread(target=end_with_parent, daemon=True).start()
    importlib.import_module(f".{given.module}", __package__).serve(given.port, *given.argument)


main()
