"""What must hold for the bytes of one connection over TLS, whatever they are.

The transport gives the same data and the same end as the engine, however the bytes are cut; it fails with
nothing but `ConnectionBroken`; and no task, and nothing that was encrypted, is left over.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
from pathlib import Path

import trio
import trio.testing

from trio_upgrade._exceptions import ConnectionBroken
from trio_upgrade._socket_transport import SocketTransport
from trio_upgrade._tls_engine import TlsEngine
from trio_upgrade._tls_transport import TlsTransport
from trio_upgrade._transport import RECEIVE_SIZE

from ..support.tls_client import make_contexts
from ..support.tls_records import ALERT, DATA, HANDSHAKE, RecordClient, Records

__all__ = ["tls"]

CONTEXTS = make_contexts(ssl.TLSVersion.TLSv1_3)
FOLDER = tempfile.TemporaryDirectory(prefix="keys-")
CONTEXTS[1].keylog_filename = str(Path(FOLDER.name, "keys"))

Ending = tuple[bytes, str]  # the data, and how it ends


def tls(data: bytes) -> Ending:
    """A connection: the first byte is the size of its packets, the second says how its handshake goes."""
    size, mode, script = max(1, data[0]) if data else 1, data[1] if len(data) > 1 else 0, data[2:]
    expected = run_engine(mode, script)
    ending = trio.run(run_transport, mode, script, size, clock=trio.testing.MockClock())
    assert ending == expected, (data, ending, expected)
    return expected


def first_bytes(client: RecordClient, mode: int, script: bytes) -> bytes | None:
    """The bytes of a client that never finishes a handshake; None if it is a good one."""
    if mode % 4 == 1:
        return script
    if mode % 4 == 2:  # a ClientHello with changes
        hello = bytearray(client.handshake()[1])
        for position, value in zip(script[::2], script[1::2], strict=False):
            hello[position * 2 % len(hello)] = value
        return bytes(hello)
    return None


def records_of(records: Records, script: bytes) -> bytes:
    """What a script makes a client send: one operation after another, each with a length and its content."""
    sent = b""
    while len(script) >= 2:
        operation, length, script = script[0] % 8, script[1], script[2:]
        content, script = script[:length], script[length:]
        if operation < 2:
            sent += records.data(content)
        elif operation == 2:
            sent += records.record(ALERT, content)
        elif operation == 3:
            sent += records.key_update(length % 2 == 1)
        elif operation == 4:
            sent += records.record(HANDSHAKE, content)
        elif operation == 5:
            sent += content
        elif operation == 6:
            sent += records.record(content[0] if content else DATA, content[1:], length)
        else:
            sent += records.data(content * 100)
    return sent


def run_engine(mode: int, script: bytes) -> Ending:
    """What comes of it without I/O, if all arrives at once."""
    server, client = TlsEngine(CONTEXTS[0]), RecordClient(CONTEXTS[1])
    received = bytearray()
    try:
        early = first_bytes(client, mode, script)
        if early is None:
            sent = client.handshake()[1]
            server.feed(sent)
            while not server.handshake():
                server.feed(client.handshake(server.take())[1])
            assert server.decrypt(RECEIVE_SIZE) is None
            if sent := records_of(client.records(), script):
                server.feed(sent)
                while (data := server.decrypt(RECEIVE_SIZE)) or server.is_holding:
                    if data == b"":
                        return bytes(received), "in order"
                    received += data or b""
            server.feed(b"")
            server.decrypt(RECEIVE_SIZE)
        else:
            if early:
                server.feed(early)
                assert not server.handshake()
            server.feed(b"")
            server.handshake()
    except ssl.SSLError:
        return bytes(received), "broken"
    raise AssertionError("an end without close_notify is an error")


async def run_transport(mode: int, script: bytes, size: int) -> Ending:
    """What comes of it on a socket that echoes, in packets of a size."""
    ours, theirs = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    client = RecordClient(CONTEXTS[1])
    received, echoed = bytearray(), bytearray()
    ending = "in order"

    async def send() -> None:
        sent = first_bytes(client, mode, script)
        if sent is None:
            await client.connect(stream)
            nursery.start_soon(receive)
            sent = records_of(client.records(), script)
        for at in range(0, min(len(sent), 50 * size), size):
            await stream.send_all(sent[at : at + size])
            await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(sent[50 * size :])
        await stream.send_eof()

    async def receive() -> None:
        async for data in stream:
            try:
                echoed.extend(client.decrypt(bytes(data)))
            except ssl.SSLError:
                pass  # the server tells that TLS is broken

    async with trio.open_nursery() as nursery:
        transport = TlsTransport(SocketTransport(ours), CONTEXTS[0], nursery)
        nursery.start_soon(send)
        try:
            await transport.start(10)
            while data := await transport.receive_some():
                received += data
                await transport.send_all(data)
        except ConnectionBroken:
            ending = "broken"
        await transport.linger(10)
    await stream.aclose()
    assert received.startswith(echoed)
    if ending == "in order":
        assert received == echoed
        assert client.has_ended
    return bytes(received), ending
