"""What a user sees in completion: the public face, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest
import trio
from gunicorn.workers.base import Worker

import trio_upgrade
from trio_upgrade import asgi, gunicorn, prometheus, testing

RECEIVE_STREAM = {"receive_some", "aclose"}
SEND_STREAM = {"send_all", "wait_send_all_might_not_block", "aclose"}
EXCEPTION = {"add_note", "args", "with_traceback"}  # `status` is set in __init__
MAPPING = {"get", "keys", "items", "values"}

PUBLIC = {
    trio_upgrade.Body: RECEIVE_STREAM | {"has_ended", "read"},
    trio_upgrade.BodyTooLarge: EXCEPTION | {"headers"},
    trio_upgrade.Headers: MAPPING | {"get_list", "raw"},
    trio_upgrade.Limits: {field.name for field in dataclasses.fields(trio_upgrade.Limits)},
    trio_upgrade.ProtocolError: EXCEPTION | {"headers"},
    trio_upgrade.TLSInfo: {field.name for field in dataclasses.fields(trio_upgrade.TLSInfo)},
    trio_upgrade.TransportInfo: {
        *("socket", "getsockopt", "setsockopt"),
        *("cipher", "getpeercert", "selected_alpn_protocol", "version"),
    },
    trio_upgrade.Request: {
        *("accept", "body", "cancel_on_disconnect", "client", "headers", "host", "http_version", "method", "path"),
        *("peername", "query", "raw_path", "scheme", "send_interim", "server", "sockname", "target", "tls"),
        *("transport", "upgrade", "wait_disconnected"),
    },
    trio_upgrade.Response: {"content", "file", "headers", "status"},
    trio_upgrade.Server: {
        *("serve_tcp", "serve_ssl_over_tcp", "serve_unix", "serve_listeners", "serve_stream"),
        *("shutdown", "shutting_down", "cancel_on_shutdown", "nursery"),
        *("limits", "statistics", "trusted_proxies"),
    },
    trio_upgrade.Statistics: {field.name for field in dataclasses.fields(trio_upgrade.Statistics)},
    trio_upgrade.UpgradedStream: RECEIVE_STREAM | SEND_STREAM | {"send_eof", "send_nowait"},
    testing.ClientStream: RECEIVE_STREAM | SEND_STREAM | {"send_eof", "receive_exactly"},
}


def names(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


@pytest.mark.parametrize("public", PUBLIC, ids=lambda public: public.__name__)
def test_a_public_class_shows_its_public_names_alone(public: type) -> None:
    assert names(public) == PUBLIC[public]


def test_every_public_class_is_listed() -> None:
    exported = [getattr(module, name) for module in (trio_upgrade, testing) for name in module.__all__]
    assert {thing for thing in exported if isinstance(thing, type)} == set(PUBLIC)


def test_what_is_in_the_extras_shows_its_public_names_alone() -> None:
    assert names(prometheus.Metrics) == set()
    assert names(prometheus.ServerCollector) == {"collect", "describe"}
    assert names(gunicorn.TrioWorker) == names(Worker)


def test_asgi_shows_its_public_names_alone() -> None:
    assert names(asgi) == set(asgi.__all__)
    assert names(asgi.StartupFailed) == EXCEPTION


async def test_what_a_handler_gets_shows_public_names_alone() -> None:
    seen: list[object] = []

    async def on_upgrade(request: trio_upgrade.Request, stream: trio_upgrade.UpgradedStream) -> None:
        await request.accept()
        seen.extend([request, request.body, request.transport, request.headers, stream])

    async with testing.open_upgrade(trio_upgrade.Server(on_upgrade=on_upgrade)) as (_, _, stream):
        pass
    for thing in seen:
        assert names(thing) == PUBLIC[type(thing)]
    assert isinstance(seen[-1], trio.abc.HalfCloseableStream)
    assert isinstance(stream, trio.abc.HalfCloseableStream)
