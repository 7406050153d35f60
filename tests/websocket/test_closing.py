"""The state machine of the closing handshake: RFC 6455 section 7. What a handler sees of it is in `test_channel.py`."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close

from trio_upgrade.websocket import ConnectionClosed
from trio_upgrade.websocket._closing import TRANSITIONS, Closing, Event, State

ENDS = [State.CLOSED, State.FAILED, State.LOST]
events = st.lists(st.sampled_from(Event), max_size=8)


def after(*happened: Event, code: int = 4000) -> Closing:
    """What is left after some events; they come with the codes 4000, 4001 and so on."""
    closing = Closing()
    for number, event in enumerate(happened):
        closing.mark(event, Close(code + number, ""))
    return closing


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize("state", ENDS)
def test_nothing_is_sent_or_received_after_the_end(state: State) -> None:
    assert not state.may_send
    assert not state.may_receive
    assert all(following in ENDS for following in TRANSITIONS[state].values())


@given(events)
def test_one_close_frame_is_sent_at_most(happened: list[Event]) -> None:
    """Section 5.5.1."""
    closing = Closing()
    assert sum(closing.mark(event, Close(1000, "")) for event in happened) <= 1


@given(events)
def test_nothing_opens_again(happened: list[Event]) -> None:
    closing = Closing()
    for event in happened:
        before = closing.state
        closing.mark(event, Close(1000, ""))
        assert before.may_send or not closing.state.may_send
        assert before.may_receive or not closing.state.may_receive


@given(st.sampled_from(Event), events)
def test_the_close_that_came_first_counts(first: Event, later: list[Event]) -> None:
    closing = after(first, *later)
    assert closing.close is not None
    if first not in (Event.SENDING_FAILS, Event.PEER_ENDS):
        assert (closing.cause, closing.close.code) == (first, 4000)


def test_a_peer_that_was_seen_to_end_its_side_still_gets_our_close_frame() -> None:
    for event in (Event.HANDLER_CLOSES, Event.SERVER_CLOSES, Event.PEER_CLOSES, Event.PEER_VIOLATES):
        closing = after(Event.PEER_ENDS)
        assert not closing.state.may_send
        assert closing.mark(event, Close(1000, ""))
        assert not closing.mark(event, Close(1000, ""))


def test_the_close_frame_of_the_peer_counts_more_than_an_end_that_was_seen() -> None:
    closing = after(Event.PEER_ENDS, Event.PEER_CLOSES)
    assert closing.close == Close(4001, "")


def test_the_close_frame_of_the_peer_counts_more_than_a_send_that_failed() -> None:
    closing = after(Event.SENDING_FAILS, Event.PEER_CLOSES)
    assert closing.close == Close(4001, "")
    assert after(Event.SENDING_FAILS, Event.CONNECTION_ENDS).close == Close(4000, "")


@given(st.sampled_from([Event.HANDLER_CLOSES, Event.SERVER_CLOSES]), events)
def test_after_an_aclose_a_close_of_our_own_ends_in_order(first: Event, later: list[Event]) -> None:
    """Whatever the peer makes of it: what arrives then is discarded."""
    closing = after(first, *later)
    closing.channel_closed = True
    assert isinstance(closing.receive_error(None), trio.EndOfChannel)


@given(st.sampled_from(Event), events)
def test_a_send_raises_one_kind_of_error_whoever_has_closed(first: Event, later: list[Event]) -> None:
    closing = after(first, *later)
    errors = [closing.send_error(None)]
    closing.channel_closed = True
    errors.append(closing.send_error(None))
    assert closing.close is not None
    assert [type(error) for error in errors] == [ConnectionClosed, ConnectionClosed]
    assert [error.code for error in errors] == [closing.close.code] * 2


@given(st.sampled_from([Event.PEER_CLOSES, Event.PEER_VIOLATES, Event.CONNECTION_ENDS]), events)
def test_an_aclose_after_a_failure_does_not_hide_it(first: Event, later: list[Event]) -> None:
    closing = after(first, *later, code=1002)
    closing.channel_closed = True
    assert isinstance(closing.receive_error(None), ConnectionClosed)


@pytest.mark.parametrize(
    ("happened", "code", "state", "error"),
    [
        ([Event.PEER_CLOSES], 1000, State.CLOSED, trio.EndOfChannel),
        ([Event.PEER_CLOSES], 1001, State.CLOSED, trio.EndOfChannel),
        ([Event.PEER_CLOSES], 1005, State.CLOSED, trio.EndOfChannel),
        ([Event.PEER_CLOSES], 1011, State.CLOSED, ConnectionClosed),
        ([Event.PEER_VIOLATES], 1002, State.FAILED, ConnectionClosed),
        ([Event.CONNECTION_ENDS], 1006, State.LOST, ConnectionClosed),
        ([Event.PEER_ENDS, Event.PEER_CLOSES], 999, State.CLOSED, trio.EndOfChannel),
        ([Event.PEER_ENDS, Event.CONNECTION_ENDS], 1006, State.LOST, ConnectionClosed),
        ([Event.PEER_ENDS, Event.PEER_VIOLATES], 1006, State.FAILED, ConnectionClosed),
        ([Event.SENDING_FAILS, Event.PEER_VIOLATES], 1006, State.FAILED, ConnectionClosed),
        ([Event.SENDING_FAILS, Event.CONNECTION_ENDS], 1006, State.LOST, ConnectionClosed),
        ([Event.HANDLER_CLOSES, Event.PEER_CLOSES], 4000, State.CLOSED, trio.EndOfChannel),
        ([Event.HANDLER_CLOSES, Event.CONNECTION_ENDS], 4000, State.LOST, trio.EndOfChannel),
        ([Event.HANDLER_CLOSES, Event.PEER_VIOLATES], 4000, State.FAILED, trio.EndOfChannel),
        ([Event.SERVER_CLOSES, Event.PEER_CLOSES], 1013, State.CLOSED, trio.EndOfChannel),
        ([Event.SERVER_CLOSES, Event.CONNECTION_ENDS], 1013, State.LOST, trio.EndOfChannel),
        ([Event.SERVER_CLOSES, Event.PEER_VIOLATES], 1001, State.FAILED, ConnectionClosed),
        ([Event.SERVER_CLOSES, Event.CONNECTION_ENDS, Event.PEER_VIOLATES], 1001, State.FAILED, ConnectionClosed),
    ],
)
def test_what_a_receive_raises_at_the_end(
    happened: list[Event], code: int, state: State, error: type[Exception]
) -> None:
    closing = after(*happened, code=code)
    assert closing.state is state
    assert type(closing.receive_error(None)) is error
    assert type(closing.send_error(None)) is ConnectionClosed
