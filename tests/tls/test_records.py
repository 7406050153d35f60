"""What arrives over TLS: records that are cut, of every kind, and an end at any byte."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_upgrade._exceptions import ConnectionBroken
from trio_upgrade._tls_engine import TlsEngine
from trio_upgrade._transport import RECEIVE_SIZE

from ..support.tls_client import make_contexts
from ..support.tls_pair import Pair, logging_contexts, tls_pair
from ..support.tls_records import HANDSHAKE, RecordClient, Records

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]

versions = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name
)


@pytest.fixture
def contexts(tmp_path: Path) -> Contexts:
    return logging_contexts(tmp_path)


# ---- without I/O


def connect(contexts: Contexts, size: int = 2**16) -> tuple[TlsEngine, RecordClient]:
    """A server and a client that do their handshake in packets of a size."""
    server, client = TlsEngine(contexts[0]), RecordClient(contexts[1])
    has_finished = False
    done, sent = client.handshake()
    while not (done and has_finished):
        for at in range(0, len(sent), size):
            assert not has_finished
            server.feed(sent[at : at + size])
            has_finished = server.handshake()
        if not done:
            done, sent = client.handshake(server.take())
    assert client.decrypt(server.take()) == b""
    return server, client


def received(server: TlsEngine, *parts: bytes, max_bytes: int = RECEIVE_SIZE) -> bytes:
    """The data in what arrives in these parts."""
    data = b""
    for part in parts:
        server.feed(part)
        while (more := server.decrypt(max_bytes)) or server.is_holding:
            if more == b"":
                return data
            data += more or b""
    return data


def ends(server: TlsEngine) -> bool:
    """Whether the peer has sent close_notify."""
    return server.is_holding and server.decrypt(1) == b""


@versions
@pytest.mark.parametrize("size", [1, 7, 2**16])
def test_a_handshake_may_be_cut_anywhere(version: ssl.TLSVersion, size: int) -> None:
    server, client = connect(make_contexts(version), size)
    assert received(server, client.encrypt(b"hello")) == b"hello"
    assert client.decrypt(server.encrypt(b"welcome")) == b"welcome"


@versions
@pytest.mark.parametrize("size", [3, 100_000])
def test_data_may_come_along_with_the_end_of_the_handshake(version: ssl.TLSVersion, size: int) -> None:
    contexts = make_contexts(version)
    if version is ssl.TLSVersion.TLSv1_2:  # only who resumes a session sends the last message of a handshake
        server, first = connect(contexts)
        session = first.state.session
    else:
        session = None
    server, client = TlsEngine(contexts[0]), RecordClient(contexts[1], session)
    done, sent = client.handshake()
    while not done:
        server.feed(sent)
        assert not server.handshake()
        done, sent = client.handshake(server.take())
    server.feed(sent + client.encrypt(b"x" * size))
    assert server.handshake()
    assert server.is_holding
    data = b""
    while server.is_holding:
        data += server.decrypt(RECEIVE_SIZE) or b""
    assert data == b"x" * size


@versions
def test_records_may_be_cut_at_every_byte(version: ssl.TLSVersion) -> None:
    _, client = connect(make_contexts(version))
    size = len(client.encrypt(b"hello") + client.encrypt(b"again"))
    server, client = connect(make_contexts(version))
    for at in range(1, size):
        records = client.encrypt(b"hello") + client.encrypt(b"again")
        assert received(server, records[:at], records[at:]) == b"helloagain"
    assert received(server, *(bytes([byte]) for byte in client.encrypt(b"hello"))) == b"hello"


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_data_arrives_whole_and_in_order(data: st.DataObject) -> None:
    """Whatever the sizes of its records, of its packets and of the reads."""
    server, client = connect(CONTEXTS)
    sizes = data.draw(st.lists(st.integers(1, 300) | st.integers(1, 70_000), min_size=1, max_size=12))
    expected = b"".join(bytes([index]) * size for index, size in enumerate(sizes))
    records = b"".join(client.encrypt(bytes([index]) * size) for index, size in enumerate(sizes))
    packets = []
    while records:
        size = data.draw(st.integers(1, 100) | st.integers(1, RECEIVE_SIZE))
        packets.append(records[:size])
        records = records[size:]
        if len(packets) > 20:
            size = RECEIVE_SIZE
            packets += [records[at : at + size] for at in range(0, len(records), size)]
            records = b""
    max_bytes = data.draw(st.integers(200, 5000) | st.just(RECEIVE_SIZE))
    assert received(server, *packets, max_bytes=max_bytes) == expected
    assert not server.is_holding


CONTEXTS = make_contexts()


def test_no_more_than_max_bytes_is_given() -> None:
    server, client = connect(CONTEXTS)
    server.feed(client.encrypt(bytes(40_000)))
    sizes = []
    while data := server.decrypt(15_000):
        sizes.append(len(data))
    assert sizes == [15_000, 15_000, 10_000]
    assert not server.is_holding


def test_what_arrived_can_be_received_after_our_end() -> None:
    """OpenSSL destroys it when close_notify is sent, wherever it is: decrypted, not yet, or half of a record."""
    for max_bytes in (1, 10, 16_384, 20_000):
        for size in range(1, 60_000, 3_001):
            server, client = connect(CONTEXTS)
            records = client.encrypt(bytes(50_000))
            server.feed(records[:size])
            before = server.decrypt(max_bytes) or b""
            server.encrypt_close_notify()
            data = before
            while server.is_holding and (more := server.decrypt(RECEIVE_SIZE)):
                data += more
            data += received(server, *([records[size:]] if records[size:] else []))
            assert data == bytes(50_000)
            with pytest.raises(ssl.SSLError, match="shutdown"):
                server.encrypt(b"x")


def test_the_session_tickets_wait_for_the_first_data() -> None:
    """A client that sends and never reads would otherwise be reset by them."""
    server, client = TlsEngine(CONTEXTS[0]), RecordClient(CONTEXTS[1])
    _, sent = client.handshake()
    server.feed(sent)
    server.handshake()
    _, sent = client.handshake(server.take())
    server.feed(sent)
    assert server.handshake()
    assert server.pending == 0
    assert len(server.take()) > 300


# ---- records that `ssl` never sends


def record_pair(contexts: Contexts) -> tuple[TlsEngine, Records]:
    server, client = connect(contexts)
    return server, client.records()


@pytest.mark.parametrize("wants", [False, True])
def test_keys_may_be_updated(contexts: Contexts, wants: bool) -> None:
    server, client = connect(contexts)
    records = client.records()
    assert received(server, records.data(b"a") + records.key_update(wants) + records.data(b"b")) == b"ab"
    assert client.decrypt(server.encrypt(b"c")) == b"c"
    assert received(server, records.key_update(wants), records.data(b"d")) == b"d"
    assert client.decrypt(server.encrypt(b"e")) == b"e"


def test_keys_may_be_updated_after_our_end(contexts: Contexts) -> None:
    server, records = record_pair(contexts)
    server.encrypt_close_notify()
    assert received(server, records.key_update(True) + records.data(b"a"), records.alert()) == b"a"
    assert ends(server)


def test_a_flood_of_key_updates_is_taken_in_turns(contexts: Contexts) -> None:
    server, records = record_pair(contexts)
    server.feed(b"".join(records.key_update() for _ in range(RECEIVE_SIZE // 27)))
    turns = 0
    while server.decrypt(RECEIVE_SIZE) is None and server.is_holding:
        turns += 1
    assert turns >= 2  # all at once takes 30 milliseconds
    assert received(server, records.data(b"a")) == b"a"


def test_data_after_close_notify_is_ignored(contexts: Contexts) -> None:
    server, records = record_pair(contexts)
    assert received(server, records.data(b"a") + records.alert() + records.data(b"b")) == b"a"
    for _ in range(3):
        assert ends(server)


def test_a_warning_is_ignored(contexts: Contexts) -> None:
    server, records = record_pair(contexts)
    assert received(server, records.alert(b"\1\x5a") + records.data(b"a")) == b"a"  # user_canceled


BROKEN: dict[str, Callable[[Records], bytes]] = {
    "a fatal alert": lambda records: records.alert(b"\2\x28"),
    "a flood of warnings": lambda records: b"".join(records.alert(b"\1\x5a") for _ in range(20)),
    "a flood of empty records": lambda records: b"".join(records.data(b"") for _ in range(100)),
    "a record without a type": lambda records: records.record(0, b""),
    "a record of an unknown type": lambda records: records.record(99, b"x"),
    "a record that is too large": lambda records: records.data(bytes(2**14 + 1)),
    "a second ClientHello": lambda records: records.record(HANDSHAKE, b"\1\0\0\4abcd"),
    "a message that nobody expects": lambda records: records.record(HANDSHAKE, b"\x14\0\0\4abcd"),
    "a key update of an unknown kind": lambda records: records.record(HANDSHAKE, b"\x18\0\0\1\7"),
    "half an alert": lambda records: records.alert(b"\2"),
    "a record that was changed": lambda records: records.data(b"hello")[:-1] + b"\0",
    "a record that is missing": lambda records: (records.data(b"hello"), records.data(b"again"))[1],
    "a record that is no TLS": lambda records: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "an end without close_notify": lambda records: b"",
    "half a record, and the end": lambda records: records.data(b"hello")[:10],
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_breaks_tls_breaks_it_after_the_data_before_it(kind: str, contexts: Contexts) -> None:
    for together in (False, True):
        server, records = record_pair(contexts)
        good, bad = records.data(b"good"), BROKEN[kind](records)
        assert received(server, *([good] if not together else [])) == (b"" if together else b"good")
        with pytest.raises(ssl.SSLError):
            server.feed((good if together else b"") + bad or b"")
            if together:
                assert server.decrypt(RECEIVE_SIZE) == b"good"
            while server.decrypt(RECEIVE_SIZE) is None and server.is_holding:
                pass
            if not server.is_holding:
                server.feed(b"")
                server.decrypt(RECEIVE_SIZE)
        for _ in range(3):
            with pytest.raises(ssl.SSLError):
                server.decrypt(RECEIVE_SIZE)


@settings(max_examples=300, deadline=None)
@given(noise=st.binary(min_size=1, max_size=200), cut=st.integers(0, 60), after=st.booleans())
def test_noise_breaks_tls_and_nothing_else(noise: bytes, cut: int, after: bool) -> None:
    server, client = connect(CONTEXTS)
    record = client.encrypt(b"hello")
    try:
        data = received(server, *([record] if after else []), record[:cut] + noise)
        assert data in (b"", b"hello")
        server.feed(b"")
        server.decrypt(RECEIVE_SIZE)
    except ssl.SSLError:
        pass
    else:
        raise AssertionError("noise is no close_notify")


# ---- through the transport


@versions
async def test_an_end_at_any_byte_but_the_last_is_an_error(version: ssl.TLSVersion) -> None:
    """The data of whole records is delivered first, and nothing of a part of one."""
    contexts = make_contexts(version)
    with trio.fail_after(50):
        at = 0
        while True:
            async with tls_pair(contexts) as pair:
                first = pair.client.encrypt(b"hello")
                second = pair.client.encrypt(b"again")
                end = pair.client.end()
                sent = first + second + end
                await pair.socket.send_all(sent[:at])
                await pair.socket.send_eof()
                expected = b"hello" * (at >= len(first)) + b"again" * (at >= len(first + second))
                data = b""
                if at == len(sent):
                    while more := await pair.transport.receive_some():
                        data += more
                else:
                    with pytest.raises(trio.BrokenResourceError) as caught:
                        while True:
                            data += await pair.transport.receive_some()
                    assert isinstance(caught.value, ConnectionBroken)
                    with pytest.raises(trio.BrokenResourceError):
                        await pair.transport.receive_some()
                assert data == expected
            if at == len(sent):
                break
            at += 1


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("early", [0, 10, 1000], ids=["nothing", "half a record", "all"])
async def test_a_cancelled_read_loses_nothing(turns: int, early: int) -> None:
    """Cancelled at each of its checkpoints, whatever has arrived before it, and what comes during it."""
    async with tls_pair(CONTEXTS) as pair:
        record = pair.client.encrypt(b"hello")
        received = bytearray()

        async def read() -> None:
            received.extend(await pair.transport.receive_some(3))

        await pair.socket.send_all(record[:early])
        with trio.move_on_after(0 if early > 10 else 0.01):
            await read()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                os.write(pair.socket.socket.fileno(), record[early:])
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        while len(received) < 5:
            await read()
        assert received == b"hello"
        await pair.send(b"x")
        assert await pair.transport.receive_some() == b"x"


async def test_an_interrupt_loses_nothing() -> None:
    async with tls_pair(CONTEXTS) as pair:
        record = pair.client.encrypt(b"hello")

        async def interrupted() -> None:
            with pytest.raises(trio.WouldBlock):
                await pair.transport.receive_interruptibly()

        for part in (record[:3], record[3:10], record[10:-1]):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(interrupted)
                await pair.socket.send_all(part)
                await trio.testing.wait_all_tasks_blocked()
                pair.transport.interrupt()
        await pair.socket.send_all(record[-1:])
        pair.transport.interrupt()
        assert await pair.transport.receive_interruptibly() == b"hello"
        pair.transport.clear_interrupt()


async def test_a_deadline_loses_nothing() -> None:
    async with tls_pair(CONTEXTS) as pair:
        record = pair.client.encrypt(b"hello")
        for part in (b"", record[:10]):
            await pair.socket.send_all(part)
            start = trio.current_time()
            with trio.fail_after(5):
                assert await pair.transport.receive_before(start + 0.02, 100) is None
            assert trio.current_time() >= start + 0.02
        await pair.socket.send_all(record[10:])
        assert await pair.transport.receive_before(trio.current_time() + 5, 3) == b"hel"
        assert await pair.transport.receive_before(trio.current_time() - 5, 3) == b"lo"  # it is there already
        assert pair.transport.bytes_received == 5


@pytest.mark.parametrize("sent", [b"", b"hello"], ids=["nothing has arrived", "something has"])
async def test_only_one_task_may_receive(sent: bytes) -> None:
    refused = 0

    async def receive() -> None:
        nonlocal refused
        try:
            await pair.transport.receive_some(1)
        except trio.BusyResourceError:
            refused += 1

    async with tls_pair(CONTEXTS) as pair:
        if sent:
            await pair.send(sent)
            assert await pair.transport.receive_some(1) == sent[:1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            assert refused == 1
            nursery.cancel_scope.cancel()


async def test_a_peer_that_floods_with_key_updates_leaves_others_their_turns(contexts: Contexts) -> None:
    async with tls_pair(contexts) as pair:
        flood = b"".join(pair.records.key_update() for _ in range(15_000))
        last = pair.records.data(b"done")
        longest = 0.0

        async def others() -> None:
            nonlocal longest
            while True:
                begin = time.perf_counter()
                await trio.lowlevel.checkpoint()
                longest = max(longest, time.perf_counter() - begin)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            nursery.start_soon(pair.socket.send_all, flood + last)
            assert await pair.transport.receive_some() == b"done"
            nursery.cancel_scope.cancel()
        assert longest < 1  # all of it takes some 0.3 s; on a busy machine, much longer


async def test_a_peer_that_makes_tls_answer_and_takes_no_answers_is_dropped(contexts: Contexts) -> None:
    async with tls_pair(contexts) as pair:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, pair)
            with pytest.raises(trio.BrokenResourceError, match="answer"):
                await pair.transport.receive_some()
            for _ in range(3):
                with pytest.raises(trio.BrokenResourceError, match="broken"):
                    await pair.transport.receive_some()
            with pytest.raises(trio.BrokenResourceError, match="broken"):
                pair.transport.send_nowait(b"x")
            nursery.cancel_scope.cancel()


async def flood(pair: Pair) -> None:
    """Ask for new keys again and again."""
    while True:
        await pair.socket.send_all(b"".join(pair.records.key_update(True) for _ in range(100)))
