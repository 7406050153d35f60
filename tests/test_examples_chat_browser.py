"""The chat's page, in a real Chromium."""

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from playwright.sync_api import Browser, Dialog, Locator, Page, expect, sync_playwright

from examples.chat import make_server
from examples.chat.store import MemoryStore

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if "CI" in os.environ:
            pytest.fail("there is no Chromium, and CI must have one")
        pytest.skip("there is no Chromium: get it with `apt-get install chromium`")
    with sync_playwright() as playwright:
        arguments = ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
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
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.asked = 0  # whether they really want to leave the page
        page.on("dialog", self._answer)
        page.on("console", self._note)

    def _answer(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":
            self.asked += 1
        else:
            self.errors.append(f"a dialog: {dialog.message}")
        dialog.accept()

    def _note(self, message: Any) -> None:
        # A connection that is refused while the server is away is no fault of the page.
        if message.type == "error" and "ERR_CONNECTION_REFUSED" not in message.text:
            self.errors.append(message.text)

    def enter(self, name: str, room: str = "lobby") -> None:
        self.page.goto(self.url)
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_label("Room", exact=True).fill(room)
        self.page.get_by_role("button", name="Come in").click()

    def is_in(self) -> None:
        expect(self.page.get_by_role("status").first).to_have_text("Connected")

    def say(self, text: str) -> None:
        self.box.fill(text)
        self.box.press("Enter")

    @property
    def box(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message")

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log")

    def sees(self, *texts: str) -> None:
        """These messages, in this order, and no others."""
        expect(self.log.locator(".text")).to_have_text(list(texts))
        expect(self.page.locator("#pending li")).to_have_count(0)


@pytest.fixture
def person(browser: Browser, running: Running) -> Iterator[Callable[..., Person]]:
    """Makes people, each with a browser context of their own; in the end none may have seen an error."""
    people: list[Person] = []

    def make(name: str = "", room: str = "lobby", **options: Any) -> Person:
        person = Person(browser.new_context(**options).new_page(), running.url)
        people.append(person)
        if name:
            person.enter(name, room)
            person.is_in()
        return person

    yield make
    for person in people:
        person.page.context.close()
        assert person.errors == []


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
    expect(ann.page.locator("#pending li")).to_have_count(2)
    ann.page.goto("about:blank")  # she leaves the page; what was typed is kept all the same
    again = Running(running._store, running.port)
    try:
        ann.page.goto(ann.url)
        for somebody in (ann, ben):
            if somebody.page.get_by_role("button", name="Now").is_visible():
                somebody.page.get_by_role("button", name="Now").click()
            somebody.is_in()
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


def test_nothing_that_is_typed_becomes_markup(person: Callable[..., Person]) -> None:
    name = "<b onclick=alert(1)>Eve</b>"
    ann, eve = person("Ann", "<i>x</i>"), person(name, "<i>x</i>")
    ann.page.evaluate("window.before = document.querySelectorAll('b, i, script, img, svg, iframe, h1').length")
    for attack in ATTACKS:
        eve.say(attack)
    ann.sees(*ATTACKS)
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


def test_a_name_that_is_taken_is_asked_for_again(person: Callable[..., Person]) -> None:
    person("Ann")
    other = person()
    other.enter("ann")
    expect(other.page.get_by_role("alert")).to_have_text("Somebody in this room has that name.")
    other.page.get_by_label("Your name").fill("Anna")
    other.page.get_by_role("button", name="Come in").click()
    other.is_in()


def test_a_second_tab_takes_the_place_of_the_first(person: Callable[..., Person]) -> None:
    ann = person("Ann")
    ann.say("here")
    ann.sees("here")
    session = ann.page.evaluate("sessionStorage.getItem('chat-session')")
    second = Person(ann.page.context.new_page(), ann.url)
    second.page.add_init_script(f"sessionStorage.setItem('chat-session', '{session}')")  # as a duplicated tab has it
    second.enter("Ann")
    second.is_in()
    second.sees("here")
    expect(ann.page.get_by_role("alert")).to_have_text("You came in from another tab.")


def test_what_was_not_seen_is_counted(person: Callable[..., Person]) -> None:
    ann, ben = person("Ann", viewport={"width": 800, "height": 400}), person("Ben")
    ann.say("\n".join("abcdefghijklmnopqrstuvwxyz"))
    ben.sees("\n".join("abcdefghijklmnopqrstuvwxyz"))
    expect(ann.page).to_have_title("lobby · Chat")
    ann.page.get_by_role("region", name="Messages").evaluate("element => element.scrollTop = 0")
    ben.say("first")
    ben.say("second")
    expect(ann.page).to_have_title("(2) lobby · Chat")
    ann.page.get_by_role("button", name="New messages").click()
    expect(ann.page).to_have_title("lobby · Chat")
    expect(ann.page.get_by_text("second")).to_be_in_viewport()
    expect(ann.page.get_by_role("button", name="New messages")).to_be_hidden()


def test_it_works_on_a_phone(person: Callable[..., Person]) -> None:
    ann = person("Ann", **PHONE)
    ben = person("Ben")
    ben.say("https://example.com/" + "long" * 100)
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
    def brightness(page: Page) -> float:
        colour: str = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        return sum(map(float, re.findall(r"\d+", colour)[:3])) / 3

    assert brightness(person("Ann", color_scheme="light").page) > 200
    assert brightness(person("Ben", color_scheme="dark").page) < 50


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
