"""The chat's page, in a real Chromium."""

import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from playwright.sync_api import Browser, Dialog, Error, Locator, Page, WebSocketRoute, expect, sync_playwright
from websockets.sync.client import connect

from examples.chat import connection, limits, make_server, store
from examples.chat.store import MemoryStore

from ..support.redis import RedisServer, redis_server

pytestmark = pytest.mark.once

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True}


class Running:
    """A chat, served in a thread of its own until it is stopped."""

    def __init__(self, store: MemoryStore, port: int = 0) -> None:
        self._store = store
        self._started = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main, port))
        self._thread.start()
        assert self._started.wait(20)

    async def _main(self, port: int) -> None:
        server = make_server(self._store)
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(server.serve_tcp, port)
            self.port = listener.socket.getsockname()[1]
            self._started.set()
            await self._stop.wait()
            await server.shutdown(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        if self._thread.is_alive():
            self._token.run_sync_soon(self._stop.set)
            self._thread.join(20)
            assert not self._thread.is_alive()


class Process:
    """A chat in a process of its own, as somebody starts it."""

    def __init__(self, port: int = 0, *options: str) -> None:
        command = [sys.executable, "-m", "examples.chat", "--port", str(port), *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        address = re.search(r"http://127.0.0.1:(\d+)", self._process.stdout.readline())
        assert address is not None
        self.url, self.port = address[0], int(address[1])

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=20)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    yield process
    process.kill()


@contextlib.contextmanager
def visitor(running: Running, name: str, room: str = "lobby") -> Iterator[Callable[[str], None]]:
    """Somebody who needs no browser; gives what says something, once it was said."""
    with connect(running.url.replace("http", "ws") + "/chat") as ws:
        session = secrets.token_hex(8)
        ws.send(json.dumps({"type": "enter", "name": name, "room": room, "last": "", "session": session}))
        ws.recv()
        numbers = itertools.count()

        def say(text: str) -> None:
            uid = f"uid-{next(numbers):06}"
            ws.send(json.dumps({"type": "say", "uid": uid, "text": text}))
            while (message := json.loads(ws.recv())).get("uid") != uid:
                pass
            assert message["type"] == "message"

        yield say


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if "CI" in os.environ:
            pytest.fail("there is no Chromium, and CI must have one")
        pytest.skip("there is no Chromium: get it with `apt-get install chromium`")
    with sync_playwright() as playwright:
        arguments = ["--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-gpu"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")  # its sandbox does not work for root
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running(MemoryStore())
    yield running
    running.stop()


class Person:
    """Somebody at a browser of their own, who notices when the page has an error."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.asked = 0  # whether they really want to leave the page
        self._listeners = {"pageerror": self._fail, "dialog": self._answer, "console": self._note}
        for event, listener in self._listeners.items():
            page.on(event, listener)  # type: ignore[call-overload]

    def go(self) -> None:
        """Leave the page as the next one may find it."""
        self.page.context.set_offline(False)
        self.page.goto("about:blank")
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)

    def _fail(self, error: Error) -> None:
        self.errors.append(str(error))

    def _answer(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":
            self.asked += 1
        else:
            self.errors.append(f"a dialog: {dialog.message}")
        dialog.accept()

    def _note(self, message: Any) -> None:
        # What fails while the server or the network is away is no fault of the page.
        if message.type == "error" and "net::ERR_" not in message.text:
            self.errors.append(message.text)

    def enter(self, name: str, room: str = "lobby") -> None:
        self.page.goto(self.url)
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_label("Room", exact=True).fill(room)
        self.page.get_by_role("button", name="Come in").click()

    def is_in(self) -> None:
        expect(self.page.get_by_role("status").first).to_have_text("Connected")

    def comes_back(self) -> None:
        """Is in again, without the wait that was to come."""
        now = self.page.get_by_role("button", name="Now")
        if now.is_visible():
            with contextlib.suppress(Error):
                now.click(timeout=1000)  # it may be too late, which is as well
        self.is_in()

    def say(self, text: str) -> None:
        self.box.fill(text)
        self.box.press("Enter")

    @property
    def box(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message")

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log")

    @property
    def alert(self) -> Locator:
        return self.page.get_by_role("alert")

    @property
    def people(self) -> Locator:
        return self.page.locator("#people li bdi")

    @property
    def pending(self) -> Locator:
        return self.page.get_by_role("list", name="Not sent yet").get_by_role("listitem")

    def sees(self, *texts: str) -> None:
        """These messages, in this order, and no others."""
        expect(self.log.locator(".text")).to_have_text(list(texts))
        expect(self.pending).to_have_count(0)


@pytest.fixture(scope="module")
def idle() -> list[Page]:
    """Pages that nobody uses: a chat at another port is another origin, that knows nothing of the last one."""
    return []


@pytest.fixture
def person(browser: Browser, idle: list[Page], running: Running) -> Iterator[Callable[..., Person]]:
    """Makes people, each with a browser context of their own; in the end none may have seen an error.

    A context that a test does something to, besides going offline, it asks for as its `own`.
    """
    people: list[Person] = []
    own_pages: list[Page] = []

    def make(
        name: str = "", room: str = "lobby", *, url: str = "", own: bool = False, script: str = "", **options: Any
    ) -> Person:
        if own or script or options:
            page = browser.new_context(**options).new_page()
            own_pages.append(page)
        else:
            page = idle.pop() if idle else browser.new_context().new_page()
        person = Person(page, url or running.url)
        people.append(person)
        if script:
            page.add_init_script(script)
        if name:
            person.enter(name, room)
            person.is_in()
        return person

    yield make
    for person in people:
        if person.page in own_pages:
            person.page.context.close()
        else:
            person.go()
            idle.append(person.page)
    assert [person.errors for person in people] == [[]] * len(people)


def test_two_people_chat_and_one_reloads(person: Callable[..., Person]) -> None:
    ann, ben = person("Ann"), person("Ben")
    for somebody in (ann, ben):
        expect(somebody.page.get_by_role("list", name="Here now").get_by_role("listitem")).to_have_count(2)
    ann.say("hello Ben")
    ben.sees("hello Ben")
    ben.say("hello Ann")
    ann.sees("hello Ben", "hello Ann")
    ann.page.reload()
    ann.is_in()
    ann.sees("hello Ben", "hello Ann")
    ann.say("back again")
    ben.sees("hello Ben", "hello Ann", "back again")
    expect(ben.page.get_by_role("list", name="Here now").get_by_role("listitem")).to_have_count(2)


def test_a_restart_of_the_server_loses_and_doubles_nothing(person: Callable[..., Person], running: Running) -> None:
    ann, ben = person("Ann"), person("Ben")
    ann.say("one")
    ben.sees("one")
    running.stop()
    expect(ann.page.get_by_text("No connection")).to_be_visible()
    ann.say("two")
    ann.say("three")
    ben.say("four")
    expect(ann.pending).to_have_count(2)
    ann.page.goto("about:blank")  # she leaves the page; what was typed is kept all the same
    again = Running(running._store, running.port)
    try:
        ann.page.goto(ann.url)
        for somebody in (ann, ben):
            somebody.comes_back()
            expect(somebody.log.locator(".text")).to_have_count(4)
        texts = ann.log.locator(".text").all_inner_texts()
        assert texts[0] == "one"
        assert sorted(texts) == ["four", "one", "three", "two"]
        assert texts.index("two") < texts.index("three")
        ben.sees(*texts)
    finally:
        again.stop()


def test_a_flooder_is_told_and_loses_nothing(person: Callable[..., Person]) -> None:
    ann, flooder = person("Ann"), person("Flo")
    lines = [f"line {number}" for number in range(12)]
    for line in lines:
        flooder.say(line)
    expect(flooder.page.get_by_text("You are writing too fast.")).to_be_visible()
    ann.sees(*lines)  # what was too fast comes a little later
    flooder.sees(*lines)
    expect(flooder.page.get_by_text("You are writing too fast.")).to_be_hidden()


def test_what_cannot_be_sent_can_be_edited(person: Callable[..., Person]) -> None:
    ann = person("Ann")
    ann.say("a\u202eb")
    expect(ann.page.get_by_text("Not sent. This message has a character that cannot be shown.")).to_be_visible()
    ann.page.get_by_role("button", name="Edit").click()
    expect(ann.box).to_have_value("a\u202eb")
    ann.say("ab")
    ann.sees("ab")


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    '"><iframe src="javascript:alert(1)"></iframe>',
    "javascript:alert(1)",
    'https://x.test/" onmouseover="alert(1)',
    "</li></ol><h1>mine</h1>",
    "&lt;b&gt;&#x3c;i&#x3e;",
    "{{constructor.constructor('alert(1)')()}}",
]


def test_nothing_that_is_typed_becomes_markup(
    person: Callable[..., Person], running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BURST", 20)
    name = "<b onclick=alert(1)>Eve</b>"
    ann = person("Ann", "<i>x</i>")
    ann.page.evaluate("window.before = document.querySelectorAll('b, i, script, img, svg, iframe, h1').length")
    with visitor(running, name, "<i>x</i>") as say:
        for attack in ATTACKS:
            say(attack)
        ann.sees(*ATTACKS)
        expect(ann.people).to_have_text([name, "Ann"])
    assert ann.log.locator(".name").first.inner_text() == name
    assert ann.page.evaluate("document.querySelectorAll('b, i, script, img, svg, iframe, h1').length == window.before")
    assert [link.get_attribute("href") for link in ann.log.get_by_role("link").all()] == ["https://x.test/"]
    assert ann.page.evaluate("[...document.querySelectorAll('*')].every(e => !e.onmouseover && !e.onclick)")


def test_links_are_made_and_end_where_they_should(person: Callable[..., Person]) -> None:
    ann = person("Ann")
    ann.say("see https://example.com/a_(b)?c=1&d#e, (http://example.org/x). ftp://no.test www.no.test")
    links = ann.log.get_by_role("link")
    expect(links).to_have_count(2)
    assert [link.get_attribute("href") for link in links.all()] == [
        "https://example.com/a_(b)?c=1&d#e",
        "http://example.org/x",
    ]
    for link in links.all():
        assert link.get_attribute("rel") == "noopener noreferrer nofollow"
        assert link.get_attribute("target") == "_blank"


def test_a_name_that_is_taken_is_asked_for_again(person: Callable[..., Person], running: Running) -> None:
    with visitor(running, "Ann"):
        other = person()
        other.enter("ann")
        expect(other.alert).to_have_text("Somebody in this room has that name.")
        other.page.get_by_label("Your name").fill("Anna")
        other.page.get_by_role("button", name="Come in").click()
        other.is_in()


def test_a_second_tab_takes_the_place_of_the_first(person: Callable[..., Person]) -> None:
    ann = person("Ann", own=True)
    ann.say("here")
    ann.sees("here")
    session = ann.page.evaluate("sessionStorage.getItem('chat-session')")
    second = Person(ann.page.context.new_page(), ann.url)
    second.page.add_init_script(f"sessionStorage.setItem('chat-session', '{session}')")  # as a duplicated tab has it
    second.enter("Ann")
    second.is_in()
    second.sees("here")
    expect(ann.alert).to_have_text("You came in from another tab.")


def test_what_was_not_seen_is_counted(person: Callable[..., Person], running: Running) -> None:
    with visitor(running, "Ben") as say:
        ann = person("Ann", viewport={"width": 800, "height": 400})
        ann.say("\n".join("abcdefghijklmnopqrstuvwxyz"))
        ann.sees("\n".join("abcdefghijklmnopqrstuvwxyz"))
        expect(ann.page).to_have_title("lobby · Chat")
        ann.page.get_by_role("region", name="Messages").evaluate("element => element.scrollTop = 0")
        say("first")
        say("second")
        expect(ann.page).to_have_title("(2) lobby · Chat")
        ann.page.get_by_role("button", name="New messages").click()
        expect(ann.page).to_have_title("lobby · Chat")
        expect(ann.page.get_by_text("second")).to_be_in_viewport()
        expect(ann.page.get_by_role("button", name="New messages")).to_be_hidden()


def test_it_works_on_a_phone(person: Callable[..., Person], running: Running) -> None:
    with visitor(running, "Ben") as say:
        ann = person("Ann", **PHONE)
        say("https://example.com/" + "long" * 100)
        ann.say("W" * 200)
        expect(ann.log.locator(".text")).to_have_count(2)
        assert ann.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        expect(ann.box).to_be_in_viewport()
        people = ann.page.get_by_role("list", name="Here now")
        expect(people).to_be_hidden()
        ann.page.get_by_role("button", name="2 here").tap()
        expect(people.get_by_role("listitem")).to_have_text(["AAnn (you)", "BBen"])
        ann.page.get_by_role("button", name="2 here").tap()
        expect(people).to_be_hidden()


def test_it_is_dark_where_that_is_wanted(person: Callable[..., Person]) -> None:
    ann = person("Ann", color_scheme="light")

    def brightness() -> float:
        colour: str = ann.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        return sum(map(float, re.findall(r"\d+", colour)[:3])) / 3

    assert brightness() > 200
    ann.page.emulate_media(color_scheme="dark")
    assert brightness() < 50


def test_the_keyboard_is_enough(person: Callable[..., Person]) -> None:
    ann = person()
    keyboard = ann.page.keyboard
    ann.page.goto(ann.url)
    expect(ann.page.get_by_label("Your name")).to_be_focused()
    keyboard.type("Ann")
    keyboard.press("Enter")
    ann.is_in()
    expect(ann.box).to_be_focused()
    keyboard.type("two")
    keyboard.press("Shift+Enter")
    keyboard.type("lines")
    keyboard.press("Enter")
    ann.sees("two\nlines")
    keyboard.press("Tab")
    expect(ann.page.get_by_role("button", name="Send")).to_be_focused()
    ann.page.get_by_role("button", name="Leave").focus()
    keyboard.press("Enter")
    expect(ann.page.get_by_role("button", name="Come in")).to_be_visible()


def test_text_that_is_being_composed_is_not_sent(person: Callable[..., Person]) -> None:
    ann = person("Ann")
    ann.box.fill("にほん")
    ann.box.evaluate(
        "box => box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))"
    )
    ann.box.evaluate(  # as Safari tells it
        "box => box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', keyCode: 229, bubbles: true}))"
    )
    expect(ann.box).to_have_value("にほん")
    ann.box.press("Enter")
    ann.sees("にほん")


def test_rooms_are_a_click_apart_and_have_addresses(person: Callable[..., Person]) -> None:
    ann = person("Ann", "attic")
    ann.say("up here")
    ann.sees("up here")
    ann.page.get_by_role("button", name="Leave").click()
    ann.enter("Ann", "cellar")
    ann.is_in()
    ann.sees()
    rooms = ann.page.get_by_role("list", name="Your rooms")
    expect(rooms.get_by_role("link", name="cellar")).to_have_attribute("aria-current", "page")
    rooms.get_by_role("link", name="attic").click()
    ann.sees("up here")
    ben = person()
    ben.page.goto(ann.page.url)
    expect(ben.page.get_by_label("Room", exact=True)).to_have_value("attic")


# ---- the connection


class Held:
    """Keeps the answer to one message from a page, until it is released."""

    def __init__(self, page: Page) -> None:
        self._is_released = False
        page.route_web_socket(re.compile("/chat"), self._connect)

    def _connect(self, route: WebSocketRoute) -> None:
        def pass_on(frame: str | bytes) -> None:
            if self._is_released or '"held"' not in str(frame):
                route.send(frame)

        route.connect_to_server().on_message(pass_on)

    def release(self) -> None:
        self._is_released = True


def test_a_killed_server_loses_and_doubles_nothing(person: Callable[..., Person], process: Process) -> None:
    ann, ben, carl = person(url=process.url, own=True), person("Ben", url=process.url), person("Carl", url=process.url)
    held = Held(ann.page)
    ann.enter("Ann")
    ann.is_in()
    ann.say("one")
    carl.sees("one")
    carl.page.context.set_offline(True)
    ann.say("held")
    ben.sees("one", "held")
    ann.say("behind it")
    expect(ann.pending).to_have_count(2)
    process.kill()
    held.release()
    expect(ann.page.get_by_text("Waits for the connection")).to_have_count(2)
    again = Process(process.port)
    try:
        carl.page.context.set_offline(False)
        for somebody in (ann, ben, carl):
            somebody.comes_back()
            somebody.sees("one", "held", "behind it")
            expect(somebody.people).to_have_count(3)
        expect(carl.page.get_by_text("Some messages may be missing here")).to_be_visible()
    finally:
        again.kill()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def node(redis: RedisServer) -> Iterator[Callable[..., Process]]:
    """Starts processes of the chat that share a Redis."""
    nodes: list[Process] = []

    def start(port: int = 0) -> Process:
        nodes.append(Process(port, "--redis", redis.url))
        return nodes[-1]

    yield start
    for process in nodes:
        process.kill()


def test_pages_on_two_nodes_go_on_when_one_is_killed(
    person: Callable[..., Person], node: Callable[..., Process]
) -> None:
    one, two = node(), node()
    ann, ben = person("Ann", url=one.url), person("Ben", url=two.url)
    ann.say("hello")
    ben.sees("hello")
    ben.say("hello Ann")
    ann.sees("hello", "hello Ann")
    expect(ann.people).to_have_text(["Ann", "Ben"])
    one.kill()
    expect(ann.page.get_by_role("status").first).to_contain_text("No connection")
    ann.say("are you there?")
    ben.say("where have you gone?")
    ben.sees("hello", "hello Ann", "where have you gone?")
    node(one.port)  # another one, that was never told what was said
    ann.comes_back()
    for somebody in (ann, ben):
        somebody.sees("hello", "hello Ann", "where have you gone?", "are you there?")
        expect(somebody.people).to_have_text(["Ann", "Ben"])


@contextlib.contextmanager
def two_workers(redis: RedisServer) -> Iterator[tuple[str, list[int]]]:
    """The chat under gunicorn: its address, and the processes of its workers."""
    options = ["-k", "trio_upgrade.gunicorn.TrioWorker", "-w", "2", "-b", "127.0.0.1:0", "--no-control-socket"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, "examples.chat:server"],
        env={**os.environ, "CHAT_REDIS_URL": redis.url},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        url = ""
        workers: list[int] = []
        while len(workers) < 2:
            line = process.stderr.readline()
            assert line, "gunicorn has ended"
            if found := re.search(r"Listening at: (\S+) ", line):
                url = found[1]
            if found := re.search(r"Booting worker with pid: (\d+)", line):
                workers.append(int(found[1]))
        yield url, workers
    finally:
        process.terminate()
        process.communicate(timeout=40)


def test_pages_go_on_at_the_other_worker_when_theirs_is_killed(
    person: Callable[..., Person], redis: RedisServer
) -> None:
    with two_workers(redis) as (url, workers):
        ann, ben = person("Ann", url=url), person("Ben", url=url)
        said = ["hello"]
        ann.say("hello")
        for worker in workers:
            ben.sees(*said)
            os.kill(worker, signal.SIGKILL)
            said += [f"{worker} is gone", "so it is"]
            ann.say(said[-2])
            ben.sees(*said[:-1])
            ben.say(said[-1])
            for somebody in (ann, ben):
                somebody.sees(*said)
                expect(somebody.people).to_have_text(["Ann", "Ben"])


def test_a_page_keeps_what_was_typed_while_redis_is_away(
    person: Callable[..., Person], node: Callable[..., Process], redis: RedisServer
) -> None:
    one, two = node(), node()
    ann, ben = person("Ann", url=one.url), person("Ben", url=two.url)
    ann.say("before")
    ben.sees("before")
    redis.stop()
    status = ann.page.get_by_role("status").first
    expect(status).to_have_text("The chat is away for a moment")
    ann.say("first")
    ann.say("second")
    expect(ann.pending).to_have_count(2)
    redis.start()
    ann.is_in()
    for somebody in (ann, ben):
        somebody.sees("before", "first", "second")


def test_a_silent_server_is_noticed(person: Callable[..., Person], process: Process) -> None:
    ann = person(url=process.url, own=True)
    ann.page.clock.install()
    ann.enter("Ann")
    ann.is_in()
    ann.page.clock.fast_forward(25_000)  # she asks, and it answers
    ann.page.clock.fast_forward(11_000)
    ann.is_in()
    process.signal(signal.SIGSTOP)
    ann.page.clock.fast_forward(20_000)
    ann.is_in()
    ann.page.clock.fast_forward(10_000)
    expect(ann.page.get_by_text("No connection")).to_be_visible()
    ann.page.get_by_role("button", name="Now").click()
    expect(ann.page.get_by_text("Connecting…")).to_be_visible()
    ann.page.clock.fast_forward(10_000)
    expect(ann.page.get_by_text("No connection")).to_be_visible()
    process.signal(signal.SIGCONT)
    ann.comes_back()


def test_a_message_without_an_answer_is_sent_again(person: Callable[..., Person], running: Running) -> None:
    with visitor(running, "Ben") as say:
        ann = person(own=True)
        held = Held(ann.page)
        ann.page.clock.install()
        ann.enter("Ann")
        ann.is_in()
        ann.say("held")
        expect(ann.pending).to_have_text(["heldSending…"])
        ann.page.clock.fast_forward(6000)
        say("so the connection lives")
        expect(ann.log.locator(".text")).to_have_text(["so the connection lives"])
        held.release()
        ann.page.clock.fast_forward(6000)
        ann.comes_back()
        expect(ann.pending).to_have_count(0)
        expect(ann.log.locator(".text")).to_have_count(2)


def test_a_page_that_is_offline_says_so_at_once(person: Callable[..., Person]) -> None:
    ann = person("Ann")
    ann.page.context.set_offline(True)
    expect(ann.page.get_by_text("No connection")).to_be_visible()
    expect(ann.page.get_by_role("list", name="Last seen here").get_by_role("listitem")).to_have_count(1)
    assert ann.page.locator("#people").evaluate("list => getComputedStyle(list).opacity") < "0.6"
    ann.say("hello")
    expect(ann.pending).to_have_text(["helloWaits for the connection"])
    ann.page.context.set_offline(False)
    ann.is_in()
    ann.sees("hello")
    expect(ann.page.get_by_role("list", name="Here now").get_by_role("listitem")).to_have_count(1)


def test_a_full_room_says_so_at_the_door(person: Callable[..., Person], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PEOPLE", 0)
    ann = person()
    ann.enter("Ann")
    expect(ann.alert).to_have_text("This room is full.")
    expect(ann.page.get_by_label("Room", exact=True)).to_have_attribute("aria-invalid", "true")


def test_who_is_thrown_out_is_told_why(person: Callable[..., Person], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STRIKES", 0)
    monkeypatch.setattr(connection, "BURST", 1)
    ann = person("Ann")
    ann.say("one")
    ann.sees("one")
    ann.say("two")
    expect(ann.alert).to_have_text("You write too much.")


def test_who_comes_in_too_often_comes_in_later(person: Callable[..., Person], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.Allowances, "take", lambda self, address: 1)
    ann = person()
    ann.enter("Ann")
    expect(ann.page.get_by_text("No connection: Too many come in from your address.")).to_be_visible()
    monkeypatch.undo()
    ann.comes_back()


# ---- what is kept


DENIED = "for (const area of ['localStorage', 'sessionStorage']) Object.defineProperty(window, area, {get() {throw 1}})"
FULL = "Storage.prototype.setItem = () => {throw new DOMException('full', 'QuotaExceededError')}"
GARBAGE = """for (const area of [localStorage, sessionStorage])
    for (const key of ['session', 'outbox', 'rooms', 'here', 'name', 'drafts'])
        if (!area.getItem(`chat-${key}`)) area.setItem(`chat-${key}`, %s)"""


@pytest.mark.parametrize("script", [DENIED, FULL, GARBAGE % "'{'", GARBAGE % "'[{}]'", GARBAGE % "'{\"name\": 3}'"])
def test_no_storage_breaks_the_page(person: Callable[..., Person], script: str) -> None:
    ann = person("Ann", script=script)
    ann.say("hello")
    ann.sees("hello")
    ann.page.get_by_role("button", name="Leave").click()
    expect(ann.page.get_by_label("Your name")).to_have_value("Ann")
    ann.page.get_by_role("button", name="Come in").click()
    ann.is_in()
    ann.sees("hello")
    expect(ann.page.get_by_role("list", name="Your rooms").get_by_role("link")).to_have_text(["lobby"])


def test_what_is_not_sent_is_not_forgotten(person: Callable[..., Person]) -> None:
    ann = person("Ann", "attic")
    ann.page.context.set_offline(True)
    ann.say("one")
    ann.say("two")
    attic = ann.page.get_by_role("list", name="Your rooms").get_by_role("link", name="attic")
    expect(attic).not_to_contain_text("not sent")
    ann.page.get_by_role("button", name="Leave").click()
    expect(ann.page.get_by_text("2 messages not sent, in attic.")).to_be_visible()
    ann.page.get_by_label("Room", exact=True).fill("cellar")
    ann.page.get_by_role("button", name="Come in").click()
    expect(attic).to_contain_text("2 not sent")
    ann.page.context.set_offline(False)
    ann.is_in()
    assert ann.asked == 0
    ann.page.reload()
    assert ann.asked == 1
    attic.click()
    ann.sees("one", "two")
    expect(attic).not_to_contain_text("not sent")
    ann.page.reload()
    ann.is_in()
    assert ann.asked == 1


def test_drafts_are_kept_for_each_room(person: Callable[..., Person]) -> None:
    ann = person("Ann", "attic")
    ann.box.fill("begun in the attic")
    ann.page.get_by_role("button", name="Leave").click()
    ann.enter("Ann", "cellar")
    expect(ann.box).to_have_value("")
    ann.box.fill("and in the cellar")
    ann.page.reload()
    expect(ann.box).to_have_value("and in the cellar")
    ann.page.get_by_role("link", name="attic").click()
    expect(ann.box).to_have_value("begun in the attic")
    ann.box.press("Enter")
    ann.sees("begun in the attic")
    ann.page.reload()
    expect(ann.box).to_have_value("")


# ---- what cannot be sent


def test_what_cannot_be_sent_holds_nothing_up(person: Callable[..., Person]) -> None:
    ann = person("Ann")
    ann.say("a\u202eb")
    expect(ann.alert).to_contain_text("Not sent.")
    expect(ann.page.get_by_text("This message has a character that cannot be shown.")).to_have_count(1)
    ann.say("next")
    expect(ann.log.locator(".text")).to_have_text(["next"])
    ann.page.reload()
    ann.is_in()
    expect(ann.alert).to_contain_text("Not sent. This message has a character that cannot be shown.")
    ann.say("and the next")
    expect(ann.log.locator(".text")).to_have_text(["next", "and the next"])
    ann.page.get_by_role("button", name="Discard").click()
    ann.sees("next", "and the next")
    expect(ann.box).to_have_value("")


def test_what_is_too_large_for_the_server_holds_nothing_up(person: Callable[..., Person]) -> None:
    ann = person()
    items = [
        {"uid": f"uid-0000{n}", "room": "lobby", "text": text, "failed": ""}
        for n, text in enumerate(["x" * 40000, "y"])
    ]
    ann.page.goto(ann.url)
    ann.page.evaluate("items => sessionStorage.setItem('chat-outbox', JSON.stringify(items))", items)
    ann.enter("Ann")
    expect(ann.alert).not_to_be_empty()  # whatever the server says
    ann.page.get_by_role("button", name="Come in").click()
    ann.is_in()
    expect(ann.log.locator(".text")).to_have_text(["y"])
    expect(ann.pending.get_by_role("alert")).to_contain_text("Not sent.")


def test_a_message_is_counted_and_not_cut(person: Callable[..., Person]) -> None:
    ann = person("Ann")
    ann.box.fill("\U0001f40c" * 1800)
    expect(ann.page.locator("#counter")).to_be_empty()
    ann.box.fill("\U0001f40c" * 2001)
    expect(ann.page.locator("#counter")).to_have_text("2001 of 2000 characters")
    expect(ann.box).to_have_attribute("aria-invalid", "true")
    ann.box.press("Enter")
    expect(ann.page.get_by_text("This message is too long to be sent.")).to_be_visible()
    expect(ann.box).to_have_value("\U0001f40c" * 2001)
    ann.box.press("Backspace")
    expect(ann.page.get_by_text("This message is too long to be sent.")).to_be_hidden()
    ann.box.press("Enter")
    ann.sees("\U0001f40c" * 2000)


# ---- how it looks


def overlapping(page: Page, *selectors: str) -> list[str]:
    """Which of these, where they are shown, lie over each other or over the window's edges."""
    shown: dict[str, Any] = page.evaluate(
        """(selectors) => Object.fromEntries(selectors
            .map((selector) => [selector, document.querySelector(selector)])
            .filter(([, element]) => element?.checkVisibility({visibilityProperty: true}))
            .map(([selector, element]) => [selector, element.getBoundingClientRect().toJSON()]))""",
        selectors,
    )
    width = page.evaluate("window.innerWidth")
    outside = [name for name, box in shown.items() if box["left"] < 0 or box["right"] > width]
    return outside + [
        f"{one} {other}"
        for (one, a), (other, b) in itertools.combinations(shown.items(), 2)
        if a["left"] < b["right"] and b["left"] < a["right"] and a["top"] < b["bottom"] and b["top"] < a["bottom"]
    ]


def test_nothing_lies_over_anything_else(person: Callable[..., Person], running: Running) -> None:
    ann = person(own=True)
    ann.page.clock.install()
    ann.enter("W" * 32, "m" * 32)
    ann.is_in()
    ann.say("hello")
    ann.sees("hello")
    parts = ["header h1", "#people-toggle", "#leave", "#state-text", "#countdown", "#now", "#stage", "#composer"]

    def check() -> None:
        for width in (320, 390, 800):
            ann.page.set_viewport_size({"width": width, "height": 600})
            assert overlapping(ann.page, *parts) == []
            assert overlapping(ann.page, "#text", "#composer button", "#scroller", "#notice") == []
            assert ann.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            assert ann.page.locator("#scroller").evaluate("element => element.scrollWidth <= element.clientWidth")

    check()
    running.stop()
    expect(ann.page.get_by_text("No connection")).to_be_visible()
    ann.page.clock.pause_at("2100-01-01")  # it is tried again at most once, and not while we look
    expect(ann.page.get_by_role("button", name="Now")).to_be_visible()
    expect(ann.page.locator("#countdown")).to_contain_text("again in")
    check()


def test_a_long_name_and_its_time_stay_in_their_place(person: Callable[..., Person], running: Running) -> None:
    with visitor(running, "a name of many words, as it goes") as say:
        say("hello")
        ann = person("Ann", viewport={"width": 320, "height": 600})
        ann.sees("hello")
        assert overlapping(ann.page, ".who bdi", ".who time", ".message .text", ".message .badge") == []
        badge = ann.page.locator(".message .badge").bounding_box()
        assert badge is not None
        assert badge["width"] == badge["height"]


@pytest.mark.parametrize("script", ["", "CSS.supports = () => false"])
def test_the_box_grows_with_its_text(person: Callable[..., Person], script: str) -> None:
    ann = person("Ann", script=script, viewport={"width": 400, "height": 600})

    def height() -> float:
        box = ann.box.bounding_box()
        assert box is not None
        return box["height"]

    one_line = height()
    ann.box.fill("words " * 30)
    assert height() > one_line * 2
    ann.box.fill("words " * 300)
    assert height() == 600 * 0.4
    assert overlapping(ann.page, "#text", "#composer button", "#scroller", "header") == []
    ann.box.fill("")
    assert height() == one_line


def test_the_button_to_the_end_is_not_over_the_box(person: Callable[..., Person], running: Running) -> None:
    with visitor(running, "Ben") as say:
        say("\n".join("abcdefghijklmnopqrstuvwxyz"))
        ann = person("Ann", viewport={"width": 400, "height": 500})
        ann.page.get_by_role("region", name="Messages").evaluate("element => element.scrollTop = 0")
        ann.box.fill("words " * 300)
        say("news")
        expect(ann.page.get_by_role("button", name="New messages")).to_be_visible()
        assert overlapping(ann.page, "#to-end", "#composer", "header") == []


def test_a_tab_behind_others_shows_the_end(person: Callable[..., Person], running: Running) -> None:
    with visitor(running, "Ben") as say:
        say("\n".join("abcdefghijklmnopqrstuvwxyz") * 2)
        ann = person("Ann", script="Object.defineProperty(document, 'hidden', {get: () => true})")
        scroller = ann.page.get_by_role("region", name="Messages")
        assert scroller.evaluate("e => e.scrollHeight - e.scrollTop - e.clientHeight") < 1
        expect(ann.page).to_have_title("lobby · Chat")
        say("news")
        expect(ann.page).to_have_title("(1) lobby · Chat")


def test_people_can_be_told_apart(person: Callable[..., Person], running: Running) -> None:
    for number in range(12):
        trio.run(running._store.append, "lobby", f"sender {number}", f"uid-{number}", "Somebody", "hello")
    ann = person("Ann")
    expect(ann.log.locator(".message")).to_have_count(12)
    hues = ann.page.evaluate("[...document.querySelectorAll('.message')].map(e => +e.style.getPropertyValue('--hue'))")

    def apart(one: float, other: float) -> float:
        return min(abs(one - other), 360 - abs(one - other))

    assert min(apart(*pair) for pair in itertools.combinations(hues, 2)) > 15
    assert min(apart(*pair) for pair in itertools.pairwise(hues)) > 90
    listed = ann.page.locator("#people li")
    assert float(listed.evaluate("e => e.style.getPropertyValue('--hue')")) not in hues


@pytest.mark.parametrize("options", [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"forced_colors": "active"}])
def test_ones_own_messages_stand_apart(
    person: Callable[..., Person], running: Running, options: dict[str, str]
) -> None:
    with visitor(running, "Ben") as say:
        say("yours")
        ann = person("Ann", **options)
        ann.say("mine")
        ann.sees("yours", "mine")
        yours, mine = (ann.page.get_by_text(text, exact=True).bounding_box() for text in ("yours", "mine"))
        assert yours is not None
        assert mine is not None
        assert yours["x"] + yours["width"] < mine["x"]


def test_a_name_does_not_make_a_message_ones_own(person: Callable[..., Person], running: Running) -> None:
    with visitor(running, "Ann") as say:
        say("by another Ann")
    ann = person("Ann")
    ann.say("by this one")
    ann.sees("by another Ann", "by this one")
    expect(ann.log.locator(".mine")).to_have_count(1)
    expect(ann.log.locator(".mine")).to_contain_text("by this one")
    expect(ann.log.locator(".follows")).to_have_count(0)


def test_every_script_is_at_home(person: Callable[..., Person]) -> None:
    ann = person("\u05d3\u05e0\u05d4", "\u05d7\u05d3\u05e8")
    ann.say("\u05e9\u05dc\u05d5\u05dd (abc)!")
    ann.say("plain")
    ann.say("Z" + "\u0301\u0302\u0300" * 60)
    texts = ann.log.locator(".text")
    expect(texts).to_have_count(3)
    assert texts.evaluate_all("all => all.map(e => getComputedStyle(e).direction)") == ["rtl", "ltr", "ltr"]
    assert texts.last.evaluate("e => getComputedStyle(e).overflowY") == "clip"
    assert ann.box.evaluate("e => e.dir") == "auto"
    assert ann.log.locator(".name").first.evaluate("e => e.tagName") == "BDI"


def contrast(page: Page, selector: str, colour: str, pseudo: str = "") -> float:
    """Between a colour of an element and what is behind it (WCAG 2)."""
    contrast: float = page.locator(selector).first.evaluate(
        """(element, [property, pseudo]) => {
            const pixel = document.createElement("canvas").getContext("2d");
            const luminance = (colour) => {
                pixel.fillStyle = colour;
                pixel.fillRect(0, 0, 1, 1);
                const [r, g, b] = [...pixel.getImageData(0, 0, 1, 1).data].map((byte) => {
                    const part = byte / 255;
                    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            let behind = property.startsWith("border") ? element.parentElement : element;
            while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
            const one = luminance(getComputedStyle(element, pseudo)[property]);
            const other = luminance(getComputedStyle(behind).backgroundColor);
            return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        }""",
        [colour, pseudo],
    )
    return contrast


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read(person: Callable[..., Person], running: Running, scheme: str) -> None:
    for number in range(12):
        trio.run(running._store.append, "lobby", f"sender {number}", f"uid-{number}", "Somebody", "hello")
    ann = person(color_scheme=scheme)
    ann.page.goto(ann.url)
    assert contrast(ann.page, "#name", "borderTopColor") >= 3
    ann.enter("Ann")
    ann.is_in()
    assert contrast(ann.page, "#text", "borderTopColor") >= 3
    assert contrast(ann.page, "#leave", "borderTopColor") >= 3
    assert contrast(ann.page, "#text", "color", "::placeholder") >= 4.5
    for number in range(12):
        assert contrast(ann.page, f".message >> nth={number} >> .name", "color") >= 4.5
        assert contrast(ann.page, f".message >> nth={number} >> .badge", "color") >= 4.5
    ann.page.context.set_offline(True)
    expect(ann.page.get_by_text("No connection")).to_be_visible()
    for selector in ("#state-text", "#countdown", "#now"):
        assert contrast(ann.page, selector, "color") >= 4.5


# ---- finding one's way


@pytest.mark.parametrize(
    ("name", "room", "field", "refusal"),
    [
        ("\u200b", "lobby", "Your name", "A name has 1 to 32 characters, and no invisible ones."),
        ("Ann", "x" * 33, "Room", "A room has a name of 1 to 32 characters, and no invisible ones."),
        ("Ann", " ", "Room", "Please say which room."),
    ],
)
def test_what_was_refused_is_ready_to_be_changed(
    person: Callable[..., Person], name: str, room: str, field: str, refusal: str
) -> None:
    ann = person()
    ann.enter(name, room)
    expect(ann.alert).to_have_text(refusal)
    refused = ann.page.get_by_label(field, exact=True)
    expect(refused).to_be_focused()
    expect(refused).to_have_attribute("aria-invalid", "true")
    expect(refused).to_have_accessible_description(refusal)
    ann.page.keyboard.type("other")  # in its place, for it is selected
    expect(refused).to_have_value("other")
    ann.page.get_by_label("Your name").fill("Ann")
    ann.page.keyboard.press("Enter")
    ann.is_in()


def test_the_people_on_a_phone_can_be_left_again(person: Callable[..., Person]) -> None:
    ann = person("Ann", **PHONE)
    toggle, people = ann.page.get_by_role("button", name="1 here"), ann.page.get_by_role("list", name="Here now")
    ways: list[Callable[[], None]] = [
        lambda: ann.page.keyboard.press("Escape"),
        lambda: ann.page.get_by_role("button", name="Back to the messages").tap(),
        lambda: ann.page.get_by_role("list", name="Your rooms").get_by_role("link", name="lobby").tap(),
    ]
    for leave in ways:
        toggle.tap()
        expect(people).to_be_visible()
        expect(ann.box).to_be_hidden()
        leave()
        expect(people).to_be_hidden()
        expect(toggle).to_be_focused()
        expect(toggle).to_have_attribute("aria-expanded", "false")
    toggle.tap()
    ann.page.get_by_role("button", name="Leave").tap()
    ann.page.get_by_role("button", name="Come in").tap()
    ann.is_in()
    expect(people).to_be_hidden()


def test_an_empty_room_says_so_and_can_be_shared(person: Callable[..., Person]) -> None:
    ann = person("Ann", "new room", permissions=["clipboard-read", "clipboard-write"])
    expect(ann.page.get_by_text("Nobody has said anything here yet.")).to_be_visible()
    ann.page.get_by_role("button", name="Copy the link").click()
    expect(ann.page.get_by_text("The link is copied.")).to_be_visible()
    link = ann.page.evaluate("navigator.clipboard.readText()")
    assert link == f"{ann.url}/?room=new%20room"
    ann.page.evaluate("() => {navigator.clipboard.writeText = () => Promise.reject()}")  # as without https
    ann.page.get_by_role("button", name="Copy the link").click()
    expect(ann.page.get_by_text(f"This is the link: {link}")).to_be_visible()
    ann.say("hello")
    ann.sees("hello")
    expect(ann.page.get_by_text("Nobody has said anything here yet.")).to_be_hidden()


def test_a_screen_reader_is_told_what_is_new(person: Callable[..., Person], running: Running) -> None:
    with visitor(running, "Ben") as say:
        say("said before")
        ann = person(own=True)
        ann.page.clock.install()
        ann.enter("Ann")
        ann.is_in()
        ann.page.clock.pause_at("2100-01-01")
        ann.page.reload()
        ann.sees("said before")
        expect(ann.log).to_have_attribute("aria-live", "off")
        ann.page.clock.run_for(1000)
        expect(ann.log).to_have_attribute("aria-live", "polite")
        expect(ann.log).to_have_attribute("aria-busy", "false")
    expect(ann.log.get_by_role("list").get_by_role("listitem")).to_have_count(2)  # the day is one
    expect(ann.page.get_by_role("heading", name="Room lobby", exact=True)).to_be_visible()
    expect(ann.page.get_by_role("link", name="lobby", exact=True)).to_be_visible()
