// What was said, what is on its way, and where in it the eye is.

import { $, badge, button, element } from "/dom.js";
import { withLinks } from "/links.js";

const TOGETHER = 5 * 60_000; // messages of one person within this time stand under one name
const SETTLED = 500; // milliseconds until what was shown on entering is no news to a screen reader

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

export class Messages {
  #colours;
  #act; // { edit(item), discard(item) }, for a message that cannot be sent
  #room = "";
  #unread = 0;
  #last = null; // the message shown last
  #isConnected = false;
  #wasAtEnd = true;
  #settling = null;

  constructor(colours, act) {
    this.#colours = colours;
    this.#act = act;
    $("scroller").addEventListener("scroll", () => this.#look());
    document.addEventListener("visibilitychange", () => this.#look());
    new ResizeObserver(() => this.#wasAtEnd && this.toEnd()).observe($("scroller"));
    $("to-end").addEventListener("click", () => this.toEnd());
  }

  // Begin with an empty room. A screen reader is not to read out what was said before.
  open(room) {
    this.#room = room;
    this.#last = null;
    this.#unread = 0;
    clearTimeout(this.#settling);
    $("spoken").setAttribute("aria-live", "off");
    $("spoken").setAttribute("aria-busy", "true");
    $("where").textContent = room;
    $("log").replaceChildren();
    $("pending").replaceChildren();
    $("empty").hidden = true;
    this.#showTitle();
  }

  // What was said before is all there: its end is what one wants to see, also in a tab behind others.
  settle() {
    $("spoken").setAttribute("aria-busy", "false");
    this.#settling = setTimeout(() => $("spoken").setAttribute("aria-live", "polite"), SETTLED);
    this.#showEmpty();
    this.toEnd();
  }

  // isNews: one that came while somebody was looking elsewhere is unread.
  add(message, isMine, isNews) {
    const atEnd = this.#isAtEnd;
    const time = new Date(message.time);
    if (!this.#last || new Date(this.#last.time).toDateString() !== time.toDateString()) {
      this.#addLine(day.format(time));
    }
    const { sender, name } = this.#last ?? {};
    const follows = sender === message.sender && name === message.name && message.time - this.#last.time < TOGETHER;
    $("log").append(this.#item(message, time, isMine, follows));
    this.#last = message;
    this.#showEmpty();
    if (isMine || atEnd) this.toEnd();
    if (isMine || !isNews || (atEnd && !document.hidden)) return;
    this.#unread += 1;
    $("to-end").hidden = this.#isAtEnd;
    this.#showTitle();
  }

  // Between here and what was shown before, something may be missing.
  addGap() {
    this.#addLine("Some messages may be missing here");
  }

  #addLine(text) {
    $("log").append(element("li", "line", text));
    this.#last = null;
  }

  #item(message, time, isMine, follows) {
    const stamp = element("time", "", clock.format(time));
    stamp.dateTime = time.toISOString();
    const who = element("p", "who", element("bdi", "name", message.name), stamp);
    const item = element("li", "message", badge(message.name), who, textOf(withLinks(message.text)));
    item.classList.toggle("mine", isMine);
    item.classList.toggle("follows", follows);
    return this.#colours.paint(item, message.sender);
  }

  // ---- what is on its way

  addPending(item) {
    const entry = element("li", "message mine follows", textOf(item.text), element("span", "fate"));
    entry.dataset.uid = item.uid;
    $("pending").append(entry);
    this.#showFate(entry);
    if (item.failed) this.failPending(item);
    this.#showEmpty();
    this.toEnd();
  }

  removePending(uid) {
    this.#pending(uid)?.remove();
    this.#showEmpty();
  }

  // Say that a message will not be sent, and let it be edited.
  failPending(item) {
    const entry = this.#pending(item.uid);
    if (!entry) return;
    const fate = entry.querySelector(".fate");
    entry.classList.add("failed");
    fate.setAttribute("role", "alert");
    fate.replaceChildren(
      `Not sent. ${item.failed} `,
      button("Edit", () => this.#act.edit(item)),
      button("Discard", () => this.#act.discard(item)),
    );
    if (this.#wasAtEnd) this.toEnd();
  }

  setConnected(isConnected) {
    this.#isConnected = isConnected;
    for (const entry of $("pending").children) this.#showFate(entry);
  }

  #showFate(entry) {
    if (entry.classList.contains("failed")) return;
    entry.querySelector(".fate").textContent = this.#isConnected ? "Sending…" : "Waits for the connection";
  }

  #pending(uid) {
    return [...$("pending").children].find((entry) => entry.dataset.uid === uid);
  }

  #showEmpty() {
    const isSettled = $("spoken").getAttribute("aria-busy") === "false";
    $("empty").hidden = !isSettled || $("log").hasChildNodes() || $("pending").hasChildNodes();
  }

  // ---- where the eye is

  get #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = $("scroller");
    return scrollHeight - scrollTop - clientHeight < 40;
  }

  toEnd() {
    $("scroller").scrollTop = $("scroller").scrollHeight;
    this.#look();
  }

  #look() {
    this.#wasAtEnd = this.#isAtEnd;
    if (!this.#wasAtEnd || document.hidden) return;
    this.#unread = 0;
    $("to-end").hidden = true;
    this.#showTitle();
  }

  #showTitle() {
    if (this.#room) document.title = (this.#unread ? `(${this.#unread}) ` : "") + `${this.#room} · Chat`;
  }

  // Nobody is in a room any more.
  close() {
    this.#room = "";
  }
}

function textOf(content) {
  const text = element("p", "text", content);
  text.dir = "auto";
  return text;
}
