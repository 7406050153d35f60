// What is on the screen. Everything that people typed goes in as text, never as markup.

import { withLinks } from "/links.js";

const TOGETHER = 5 * 60_000; // messages of one person within this time stand under one name
const HUES = 8;

const $ = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function hueOf(name) {
  let hash = 0;
  for (const character of name.toLowerCase()) {
    hash = Math.imul(hash ^ character.codePointAt(0), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return `hue-${(hash >>> 0) % HUES}`;
}

export class View {
  #me = "";
  #room = "";
  #unread = 0;
  #last = null; // the message shown last
  #countdown = null;

  constructor() {
    $("scroller").addEventListener("scroll", () => this.#seeEnd());
    document.addEventListener("visibilitychange", () => this.#seeEnd());
    new ResizeObserver(() => this.#wasAtEnd && this.toEnd()).observe($("scroller"));
    $("to-end").addEventListener("click", () => this.toEnd());
    $("people-toggle").addEventListener("click", () => this.#toggleSide());
  }

  // ---- the door

  showDoor(name, room, refusal = "") {
    $("chat").hidden = true;
    $("door").hidden = false;
    $("refusal").textContent = refusal;
    $("name").value = name;
    $("room").value = room;
    $(name ? "room" : "name").focus();
    document.title = "Chat";
  }

  showRoom(name, room) {
    this.#me = name;
    this.#room = room;
    this.#last = null;
    this.#unread = 0;
    $("door").hidden = true;
    $("chat").hidden = false;
    $("where").textContent = room;
    $("log").replaceChildren();
    $("pending").replaceChildren();
    $("people").replaceChildren();
    this.notice("");
    this.#showTitle();
    $("text").focus();
  }

  setName(name) {
    this.#me = name;
  }

  // ---- messages

  // A message that came while somebody was looking elsewhere is unread.
  addMessage(message, isNews) {
    const atEnd = this.#isAtEnd;
    const time = new Date(message.time);
    if (!this.#last || new Date(this.#last.time).toDateString() !== time.toDateString()) {
      $("log").append(element("li", "day", day.format(time)));
      this.#last = null;
    }
    const follows = this.#last?.name === message.name && message.time - this.#last.time < TOGETHER;
    $("log").append(this.#item(message, time, follows));
    this.#last = message;
    if (message.name === this.#me || (atEnd && !document.hidden)) {
      this.toEnd();
    } else if (isNews) {
      if (atEnd) this.toEnd();
      this.#unread += 1;
      $("to-end").hidden = this.#isAtEnd;
      this.#showTitle();
    }
  }

  #item(message, time, follows) {
    const stamp = element("time", "", clock.format(time));
    stamp.dateTime = time.toISOString();
    const name = element("span", "name", message.name);
    const text = element("p", "text", withLinks(message.text));
    const badge = element("span", "badge", [...message.name][0].toUpperCase());
    badge.setAttribute("aria-hidden", "true");
    const item = element("li", `message ${hueOf(message.name)}`, badge, name, stamp, text);
    item.dataset.id = message.id;
    item.classList.toggle("mine", message.name === this.#me);
    item.classList.toggle("follows", follows);
    return item;
  }

  addGap() {
    $("log").append(element("li", "day", "Some older messages are no longer kept"));
    this.#last = null;
  }

  addPending(item) {
    const entry = element("li", "message mine follows", element("p", "text", item.text), element("span", "fate", "Sending…"));
    entry.dataset.uid = item.uid;
    $("pending").append(entry);
    this.toEnd();
  }

  removePending(uid) {
    this.#pending(uid)?.remove();
  }

  // Say that a message will not be sent, and let it be edited.
  failPending(uid, why, edit) {
    const entry = this.#pending(uid);
    if (!entry) return;
    const button = element("button", "quiet", "Edit");
    button.type = "button";
    button.addEventListener("click", () => {
      edit();
      entry.remove();
    });
    entry.classList.add("failed");
    entry.querySelector(".fate").replaceChildren(`Not sent. ${why} `, button);
  }

  #pending(uid) {
    return [...$("pending").children].find((entry) => entry.dataset.uid === uid);
  }

  // ---- people and rooms

  showPeople(names) {
    $("people-count").textContent = names.length;
    $("people").replaceChildren(
      ...names.map((name) => {
        const badge = element("span", "badge", [...name][0].toUpperCase());
        badge.setAttribute("aria-hidden", "true");
        return element("li", hueOf(name), badge, element("span", "", name === this.#me ? `${name} (you)` : name));
      }),
    );
  }

  showRooms(rooms, go) {
    $("rooms").replaceChildren(
      ...rooms.map((room) => {
        const link = element("a", "", room);
        link.href = `/?room=${encodeURIComponent(room)}`;
        if (room === this.#room) link.setAttribute("aria-current", "page");
        link.addEventListener("click", (event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          this.#toggleSide(false);
          go(room);
        });
        return element("li", "", link);
      }),
    );
  }

  #toggleSide(open = $("people-toggle").getAttribute("aria-expanded") !== "true") {
    $("people-toggle").setAttribute("aria-expanded", String(open));
    $("chat").classList.toggle("side-open", open);
  }

  // ---- the connection

  // state: connecting, connected or waiting; waiting counts down to `until`.
  showState(state, until = 0) {
    clearInterval(this.#countdown);
    $("state").dataset.state = state;
    const texts = { connecting: "Connecting…", connected: "Connected", waiting: "No connection" };
    if ($("state-text").textContent !== texts[state]) $("state-text").textContent = texts[state];
    $("countdown").textContent = "";
    $("now").hidden = state !== "waiting";
    if (state !== "waiting") return;
    const tick = () => {
      const seconds = Math.max(1, Math.ceil((until - Date.now()) / 1000));
      $("countdown").textContent = `again in ${seconds} s`;
    };
    tick();
    this.#countdown = setInterval(tick, 1000);
  }

  notice(text) {
    $("notice").textContent = text;
  }

  // ---- where the eye is

  #wasAtEnd = true;

  get #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = $("scroller");
    return scrollHeight - scrollTop - clientHeight < 40;
  }

  toEnd() {
    $("scroller").scrollTop = $("scroller").scrollHeight;
    this.#seeEnd();
  }

  #seeEnd() {
    this.#wasAtEnd = this.#isAtEnd;
    if (!this.#wasAtEnd || document.hidden) return;
    this.#unread = 0;
    $("to-end").hidden = true;
    this.#showTitle();
  }

  #showTitle() {
    document.title = (this.#unread ? `(${this.#unread}) ` : "") + `${this.#room} · Chat`;
  }
}
