"""The README's code is true: every block is type-checked and run."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from trio_upgrade import Server, asgi
from trio_upgrade.testing import open_upgrade

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", README, re.DOTALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The blocks, each in the file that its first line names."""
    folder = tmp_path_factory.mktemp("readme")
    for name, code in BLOCKS.items():
        (folder / Path(name).name).write_text(code)
    return folder


def load(folder: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"readme_{name}", folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_every_block_names_its_file() -> None:
    assert README.count("```python") == len(BLOCKS) == 11


@pytest.mark.once
def test_the_blocks_type_check(folder: Path) -> None:
    run(folder, "-m", "mypy", "--strict", *sorted(path.name for path in folder.glob("*.py")))


def test_the_tests_pass(folder: Path) -> None:
    assert "3 passed" in run(folder, "-m", "pytest", "-q", "-o", "trio_mode=true", "test_server.py", "test_shout.py")


def test_the_embedded_server_runs(folder: Path) -> None:
    assert re.fullmatch(r"listening on port \d+\n", run(folder, "embedded.py"))


async def test_goodbye(folder: Path) -> None:
    server: Server = load(folder, "goodbye").server
    async with open_upgrade(server) as (status, _, stream):
        assert status == 101
        await stream.send_all(b"hi")
        assert await stream.receive_exactly(2) == b"hi"
        await stream.send_eof()
        assert await stream.receive_exactly(8) == b"goodbye\n"


async def test_the_pages(folder: Path) -> None:
    server: Server = load(folder, "count").server
    async with open_upgrade(server, "/count") as (status, _, stream):
        assert (status, await stream.receive_some()) == (200, b"1\n2\n3\n")
    async with open_upgrade(server, "/length", method="POST", body=b"12345") as (status, _, stream):
        assert (status, await stream.receive_some()) == (200, b"5\n")
    async with open_upgrade(server, "/other") as (status, _, stream):
        assert status == 404


async def test_a_framework_with_a_raw_upgrade_beside_its_routes(folder: Path) -> None:
    async with asgi.server(load(folder, "api").app) as server:
        async with open_upgrade(server, "/hello/ann") as (status, _, stream):
            assert (status, await stream.receive_some()) == (200, b'"Hello, ann!"')
        async with open_upgrade(server, "/shout", "shout/1") as (status, _, stream):
            await stream.send_all(b"hi")
            assert (status, await stream.receive_exactly(2)) == (101, b"HI")


async def test_what_runs_around_a_server(folder: Path) -> None:
    async with load(folder, "visits").application() as server:
        for number in (1, 2):
            async with open_upgrade(server) as (status, _, stream):
                assert (status, await stream.receive_some()) == (200, f"visit {number}\n".encode())


def test_the_smallest_example_is_the_one_shown() -> None:
    example = (ROOT / "examples" / "echo.py").read_text()
    assert BLOCKS["examples/echo.py"] == example
    assert len(example.splitlines()) < 25


def test_every_file_that_is_linked_exists() -> None:
    links = re.findall(r"\]\(([^):#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
