"""Prints the lowest version of each dependency that pyproject.toml allows, as constraints for pip.

Those of the package and of the extras that users install count; tools of the tests and the benchmarks do not.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

TOOLS = ("asgi-tests", "test", "benchmarks", "fuzz")
FLOOR = re.compile(r"([A-Za-z0-9.-]+)(?:\[[a-z,]+\])?>=([0-9.]+)")  # every dependency is written so
OWN = re.compile(r"trio-upgrade\[[a-z,]+\]")


def main() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    dependencies = [*project["dependencies"], *(item for name in extras if name not in TOOLS for item in extras[name])]
    for dependency in dependencies:
        if OWN.fullmatch(dependency):
            continue
        floor = FLOOR.fullmatch(dependency)
        if floor is None:
            raise SystemExit(f"no lowest version: {dependency}")
        print(f"{floor[1]}=={floor[2]}")


if __name__ == "__main__":
    main()
