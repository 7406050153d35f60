// Puts the parts together: who somebody is, where they are, and what goes in and out.

import { Connection } from "/connection.js";
import { Outbox, fallbackUid } from "/outbox.js";
import { View } from "/view.js";

const $ = (id) => document.getElementById(id);
const view = new View();
const outbox = new Outbox();

// Kept by the tab, so that a reload comes back as the same person.
const session = sessionStorage.getItem("chat-session") ?? fallbackUid();
sessionStorage.setItem("chat-session", session);

const here = { name: "", room: "", last: "", entered: false };
let connection = null;
let sending = null; // the uid of what is on its way
let resendTimer = null;

// ---- coming in and leaving

function enter(name, room) {
  connection?.close();
  clearTimeout(resendTimer);
  Object.assign(here, { name, room, last: "", entered: false });
  sending = null;
  localStorage.setItem("chat-name", name);
  sessionStorage.setItem("chat-here", JSON.stringify({ name, room }));
  history.replaceState(null, "", `/?room=${encodeURIComponent(room)}`);
  view.showRoom(name, room);
  view.showRooms(remember(room), (other) => enter(here.name, other));
  outbox.of(room).forEach((item) => view.addPending(item));
  const address = new URL("/chat", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  connection = new Connection(address, {
    connecting: () => view.showState("connecting"),
    open: () => connection.send({ type: "enter", name, room, last: here.last, session }),
    message: (message) => handlers[message.type]?.(message),
    waiting: (until) => {
      here.entered = false;
      sending = null;
      view.showState("waiting", until);
    },
    refused: (code, reason) => leave(reason),
  });
}

function leave(why = "") {
  connection?.close();
  clearTimeout(resendTimer);
  sessionStorage.removeItem("chat-here");
  view.showDoor(here.name, here.room, why);
}

// The rooms that this browser was in, the latest first.
function remember(room) {
  const rooms = JSON.parse(localStorage.getItem("chat-rooms") ?? "[]");
  const all = [room, ...rooms.filter((other) => other !== room)].slice(0, 8);
  localStorage.setItem("chat-rooms", JSON.stringify(all));
  return all;
}

// ---- what comes in

const handlers = {
  welcome({ name, people, messages, missed }) {
    here.entered = true;
    here.name = name; // as the server writes it
    view.setName(name);
    const first = here.last === "";
    if (missed) view.addGap();
    messages.forEach((message) => show(message, !first));
    view.showPeople(people);
    view.showState("connected");
    sendNext();
  },

  message(message) {
    show(message, true);
  },

  people({ people }) {
    view.showPeople(people);
  },

  notice({ code, text, uid, wait }) {
    view.notice(text);
    if (uid !== sending) return;
    sending = null;
    if (code === "too-fast") {
      resendTimer = setTimeout(sendNext, wait * 1000 + 100);
      return;
    }
    const item = outbox.remove(uid);
    view.failPending(uid, text, () => putBack(item.text));
    sendNext();
  },
};

function show(message, isNews) {
  if (outbox.remove(message.uid)) {
    view.removePending(message.uid);
    isNews = false;
  }
  if (isLater(message.id, here.last)) {
    here.last = message.id;
    view.addMessage(message, isNews);
  }
  if (message.uid === sending) {
    sending = null;
    if (outbox.of(here.room).length === 0) view.notice("");
    sendNext();
  }
}

// Ids are milliseconds and a number: "1700000000000-3".
function isLater(id, other) {
  if (other === "") return true;
  const [a, b] = [id, other].map((text) => text.split("-").map(Number));
  return a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);
}

// ---- what goes out

// One at a time: so they stay in order, and a reconnection knows what to send again.
function sendNext() {
  const [item] = outbox.of(here.room);
  if (!item || sending !== null || !here.entered) return;
  sending = item.uid;
  connection.send({ type: "say", uid: item.uid, text: item.text });
}

function say() {
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  fit();
  view.addPending(outbox.add(here.room, text));
  sendNext();
}

function putBack(text) {
  const typed = $("text").value;
  $("text").value = typed ? `${text}\n${typed}` : text;
  fit();
  $("text").focus();
}

// As high as its text, up to what the style allows.
function fit() {
  const box = $("text");
  box.rows = Math.min(6, box.value.split("\n").length);
}

// ---- what people do

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const [name, room] = [$("name").value.trim(), $("room").value.trim().toLowerCase()];
  if (name && room) enter(name, room);
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  say();
  $("text").focus();
});
$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  say();
});
$("text").addEventListener("input", fit);
$("leave").addEventListener("click", () => leave());
$("now").addEventListener("click", () => connection?.retryNow());

const asked = new URLSearchParams(location.search).get("room");
const before = JSON.parse(sessionStorage.getItem("chat-here") ?? "null");
if (before && (!asked || asked === before.room)) {
  enter(before.name, before.room);
} else {
  view.showDoor(localStorage.getItem("chat-name") ?? "", asked ?? "lobby");
}
