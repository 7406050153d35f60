"""The command line and gunicorn with an ASGI application, and how it is recognised."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from trio_upgrade import Server, asgi
from trio_upgrade.program._importer import Application, ApplicationError

from ..support.applications import respond
from ..support.client import Connect, get
from ..support.programs import ENVIRONMENT, Program, running

APPLICATION = """
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            print(kind)
            if "FAIL" in os.environ:
                return await send({"type": f"{kind}.failed", "message": "no database"})
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": (scope["root_path"] + " " + scope["path"]).encode()})

def factory():
    return app
"""
SERVING = r"Serving on http://(\S+):(\d+) "
LISTENING = r"Listening at: https?://(\S+):(\d+) "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    return tmp_path


async def ask(program: Program, pattern: str) -> bytes:
    client = await program.connect(pattern)
    async with client.stream:
        await client.send(get("/a", b"Connection: close\r\n"))
        return (await client.reply()).content


@pytest.mark.parametrize("application", ["app:app", "app:factory"])
async def test_the_command_line_serves_an_application(folder: Path, application: str) -> None:
    command = ["-m", "trio_upgrade", application, "--port", "0", "--root-path", "/api"]
    async with running(*command, cwd=folder) as program:
        assert await ask(program, SERVING) == b"/api /api/a"
        program.process.terminate()
        printed = await program.ends()
    assert program.process.returncode == 0
    assert printed.count("lifespan.startup") == printed.count("lifespan.shutdown") == 1


async def test_an_application_that_cannot_start_ends_with_status_3(folder: Path) -> None:
    environment = {**ENVIRONMENT, "FAIL": "1"}
    async with running("-m", "trio_upgrade", "app:app", "--port", "0", cwd=folder, env=environment) as program:
        printed = await program.ends()
    assert program.process.returncode == 3
    assert printed.splitlines() == ["lifespan.startup", "trio-upgrade: the application cannot start: no database"]


def gunicorn_command(application: str) -> list[str]:
    options = ["-k", "trio_upgrade.gunicorn.TrioWorker", "-b", "127.0.0.1:0", "-w", "2"]
    return ["-m", "gunicorn", *options, application]


@pytest.mark.parametrize("application", ["app:app", "app:factory"])
async def test_gunicorn_serves_an_application(folder: Path, application: str) -> None:
    environment = {**ENVIRONMENT, "HOME": str(folder), "SCRIPT_NAME": "/api"}
    async with running(*gunicorn_command(application), cwd=folder, env=environment) as program:
        assert await ask(program, LISTENING) == b"/api /api/a"
        await program.prints("lifespan.startup", 2)
        program.process.terminate()
        printed = await program.ends()
    assert program.process.returncode == 0
    assert printed.count("lifespan.shutdown") == 2


async def test_an_application_that_cannot_start_ends_gunicorn(folder: Path) -> None:
    environment = {**ENVIRONMENT, "HOME": str(folder), "FAIL": "1"}
    async with running(*gunicorn_command("app:app"), cwd=folder, env=environment) as program:
        printed = await program.ends()
    assert program.process.returncode != 0
    assert printed.count("the application cannot start: no database") == 1


WORKS_ON = """
import trio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shut down")
        return await send({"type": "lifespan.shutdown.complete"})
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})
    await trio.sleep_forever()
"""


async def test_gunicorn_lets_an_application_shut_down_although_it_still_works(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(WORKS_ON)
    command = [*gunicorn_command("app:app"), "--graceful-timeout", "4"]
    async with running(*command, cwd=tmp_path, env={**ENVIRONMENT, "HOME": str(tmp_path)}) as program:
        await ask(program, LISTENING)
        program.process.terminate()
        assert (await program.ends()).count("shut down") == 2


FAILS_IN_TRIO = """
import gc, signal, trio
from trio_upgrade import asgi

class Failure(BaseException):
    pass

def fail(number, frame):
    raise Failure

async def app(scope, receive, send):
    if scope["type"] == "http":
        signal.signal(signal.SIGALRM, fail)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        await trio.sleep_forever()

async def main():
    async with asgi.server(app) as server, trio.open_nursery() as nursery:
        listeners = await nursery.start(server.serve_tcp, 0)
        stream = await trio.open_tcp_stream(*listeners[0].socket.getsockname())
        await stream.send_all(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        await trio.sleep_forever()

try:
    trio.run(main)
except Failure:
    print("failed")
gc.collect()
"""


async def test_the_connections_of_a_trio_that_has_failed_are_no_mistakes_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(FAILS_IN_TRIO)
    async with running("program.py", cwd=tmp_path) as program:
        printed = await program.ends()
    assert "failed" in printed.splitlines()
    assert "please report" not in printed
    assert "_failures.py" not in printed  # the application's own task has nothing to say either


# ---- what is an application


async def function(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    if scope["type"] == "http":
        await respond(send, b"served")


async def with_an_option(scope: Any, receive: Any, send: Any, option: int = 0) -> None:
    await function(scope, receive, send)


async def anything(*args: Any) -> None:
    await function(*args)


def returns_a_coroutine(scope: Any, receive: Any, send: Any) -> Any:
    return function(scope, receive, send)


class Instance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await function(scope, receive, send)


async def async_factory() -> Any:
    return function


SERVED = [
    function,
    with_an_option,
    returns_a_coroutine,
    Instance(),
    Instance,
    Instance().__call__,
    functools.partial(with_an_option, option=1),
    lambda: function,
    async_factory,
]


async def serve_and_ask(connect: Connect, application: Application) -> bytes:
    async with application.open() as server:
        assert isinstance(server, Server)
        client = await connect(server)
        await client.send(get())
        return (await client.reply()).content


@pytest.mark.parametrize("target", SERVED)
@pytest.mark.parametrize("is_asgi", [False, True])
async def test_an_application_is_known_by_its_signature(connect_memory: Connect, target: Any, is_asgi: bool) -> None:
    assert await serve_and_ask(connect_memory, Application("it", target, is_asgi=is_asgi)) == b"served"


async def test_one_that_takes_any_arguments_has_to_be_named(connect_memory: Connect) -> None:
    assert await serve_and_ask(connect_memory, Application("it", anything, is_asgi=True)) == b"served"
    async with asgi.server(anything) as server:
        client = await connect_memory(server)
        await client.send(get())
        assert (await client.reply()).content == b"served"


def wsgi(environ: Any, start_response: Any) -> Any: ...


class WSGI:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class Double:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


def double(scope: Any) -> Any: ...


async def on_upgrade(request: Any, stream: Any) -> None: ...


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (wsgi, "it is a WSGI application"),
        (WSGI(), "it is a WSGI application"),
        (lambda: wsgi, "it is a WSGI application"),
        (Double, "it is an ASGI 2 application"),
        (double, "it is an ASGI 2 application"),
        (on_upgrade, "it takes arguments; a function that gives a trio_upgrade.Server takes none"),
    ],
)
async def test_what_is_often_taken_for_an_application_is_told(target: Any, message: str) -> None:
    with pytest.raises(ApplicationError, match=message):
        async with Application("it", target).open():
            pass


@pytest.mark.parametrize("target", [wsgi, WSGI(), Double, double, 1, None, "app"])
async def test_a_server_takes_applications_alone(target: Any) -> None:
    with pytest.raises(TypeError, match=r"no ASGI (3 )?application"):
        async with asgi.server(target):
            pass


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1", True])
async def test_an_invalid_background_timeout_is_refused(timeout: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="background_timeout"):
        async with asgi.server(function, background_timeout=timeout):
            pass


async def test_a_native_server_does_not_mind_a_root_path() -> None:
    async with Application("it", Server(), root_path="/api").open() as server:
        assert isinstance(server, Server)
