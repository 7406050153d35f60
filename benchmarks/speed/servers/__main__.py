"""`python -m benchmarks.speed.servers`: run one of them, until standard input ends."""

from __future__ import annotations

import argparse
import importlib
import os
import threading
from pathlib import Path

from ..machine import find_executable, pin, raise_descriptors
from .place import Place


def end_with_parent() -> None:
    """Whoever started it is gone; the servers that are Python programs go too."""
    while os.read(0, 1024):
        pass
    os._exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.servers", description=__doc__)
    parser.add_argument("--processor", type=int, help="the one to be kept to")
    parser.add_argument("--certificate", metavar="FILE", help="its key and its certificate, to serve over TLS")
    parser.add_argument("--content", metavar="FILE", help="the content of downloads")
    parser.add_argument("module")
    parser.add_argument("argument", nargs="*")
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    pin(given.processor)
    raise_descriptors()
    if given.module == "node":
        node = find_executable("node")
        assert node is not None
        script = str(Path(__file__).with_name("node.js"))
        os.execv(node, [node, script, str(given.port), given.certificate or "", given.content or ""])
    threading.Thread(target=end_with_parent, daemon=True).start()
    place = Place(given.port, given.certificate, given.content)
    importlib.import_module(f".{given.module}", __package__).serve(place, *given.argument)


main()
