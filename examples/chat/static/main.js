// Puts the parts together: who somebody is, where they are, and what goes in and out.

import { Colours } from "/colours.js";
import { Composer } from "/composer.js";
import { Connection, PATIENCE } from "/connection.js";
import { $ } from "/dom.js";
import { Door } from "/door.js";
import { Messages } from "/messages.js";
import { Outbox } from "/outbox.js";
import { Side } from "/side.js";
import { showState } from "/status.js";
import { isListOf, isObjectOf, isRandomId, isText, ofBrowser, ofTab, randomId } from "/storage.js";

const FIELDS = { 4000: "name", 4001: "room", 4003: "room" }; // close codes, and what was refused
const ROOMS = 8; // that are remembered

const notice = (text) => ($("notice").textContent = text);
const outbox = new Outbox();
const colours = new Colours();
const side = new Side(colours);
const messages = new Messages(colours, {
  edit: (item) => (discard(item), composer.putBack(item.text)),
  discard,
});
const composer = new Composer(say, notice);
const door = new Door(enter);

// Kept by the tab, so that a reload comes back as the same person.
const session = ofTab.load("chat-session", isRandomId, randomId());
ofTab.save("chat-session", session);

const here = { id: "", name: "", room: "", last: "", entered: false, storeIsAway: false };
const known = new Set(); // the ids of the messages that are shown, and what their senders called them
let connection = null;
let underWay = null; // the uid of the message that waits for its answer
let answerTimer = null;
let resendTimer = null;

// ---- coming in and leaving

function enter(name, room) {
  leave();
  Object.assign(here, { name, room, last: "" });
  known.clear();
  colours.reset();
  ofBrowser.save("chat-name", name);
  ofTab.save("chat-here", { name, room });
  const rooms = ofBrowser.load("chat-rooms", isListOf(isText), []).filter((other) => other !== room);
  ofBrowser.save("chat-rooms", [room, ...rooms].slice(0, ROOMS));
  history.replaceState(null, "", `/?room=${encodeURIComponent(room)}`);
  door.hide();
  notice("");
  side.showPeople([], "");
  messages.open(room);
  outbox.of(room).forEach((item) => messages.addPending(item));
  showRooms();
  composer.open(room);
  const address = new URL("/chat", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  connection = new Connection(address, {
    connecting: () => showState("connecting"),
    open: () => connection.send({ type: "enter", name: here.name, room, last: here.last, session }),
    message: (message) => handlers[message.type]?.(message),
    waiting: (until, reason) => {
      pause();
      showState("waiting", until, reason);
    },
    refused: (code, reason) => {
      // Whatever broke a rule would do so again, and nothing behind it would ever be sent.
      if (code === 1008 || code === 1009) outbox.fail(underWay, reason);
      leave();
      showDoor({ refusal: reason || "The server has ended the connection.", field: FIELDS[code] });
    },
  });
}

function leave() {
  connection?.close();
  connection = null;
  pause();
  ofTab.save("chat-here", null);
  side.close();
  messages.close();
}

// Nothing goes out until the next welcome.
function pause() {
  here.entered = false;
  setUnderWay(null);
  clearTimeout(resendTimer);
  messages.setConnected(false);
}

function showDoor(more = {}) {
  door.show({ name: here.name, room: here.room, unsent: outbox.counts, ...more });
}

function showRooms() {
  const rooms = ofBrowser.load("chat-rooms", isListOf(isText), []);
  side.showRooms(rooms, here.room, outbox.counts, (room) => enter(here.name, room));
}

// ---- what comes in

const handlers = {
  welcome({ you, people, messages: said, missed }) {
    const isFirst = known.size === 0;
    Object.assign(here, you, { entered: true, storeIsAway: false }); // the name as the server writes it
    if (missed) messages.addGap();
    said.forEach((message) => show(message, !isFirst));
    side.showPeople(people, here.id);
    messages.setConnected(true);
    if (isFirst) messages.settle();
    showState("connected");
    sendNext();
  },

  message(message) {
    show(message, true);
  },

  joined(person) {
    side.join(person);
  },

  left({ id }) {
    side.leave(id);
  },

  // What the server keeps the messages in cannot be reached for now. What is typed waits in the outbox.
  away() {
    here.storeIsAway = true;
    showState("away");
  },

  back() {
    here.storeIsAway = false;
    showState("connected");
    notice("");
    sendNext();
  },

  notice({ code, text, uid, wait }) {
    if (uid !== underWay) return;
    setUnderWay(null);
    if (code === "too-fast" || code === "away") {
      notice(text);
      resendTimer = setTimeout(sendNext, wait * 1000 + 100);
      return;
    }
    const item = outbox.fail(uid, text);
    if (item) messages.failPending(item);
    sendNext();
  },
};

// A message may come twice: when it was sent again, and when the server started again in between.
function show(message, isNews) {
  const isMine = message.sender === here.id;
  const name = `${message.sender} ${message.uid}`;
  if (!known.has(message.id)) here.last = message.id;
  if (isMine && outbox.remove(message.uid)) {
    messages.removePending(message.uid);
    showRooms();
  }
  if (!known.has(message.id) && !known.has(name)) messages.add(message, isMine, isNews);
  known.add(message.id).add(name);
  if (!isMine || message.uid !== underWay) return;
  setUnderWay(null);
  if (!outbox.next(here.room)) notice("");
  sendNext();
}

// ---- what goes out

// One at a time: so they stay in order, and a reconnection knows what to send again.
function sendNext() {
  const item = outbox.next(here.room);
  if (!item || underWay !== null || !here.entered || here.storeIsAway) return;
  setUnderWay(item.uid);
  connection.send({ type: "say", uid: item.uid, text: item.text });
}

function setUnderWay(uid) {
  underWay = uid;
  clearTimeout(answerTimer);
  if (uid !== null) answerTimer = setTimeout(() => connection.giveUp(), PATIENCE);
}

function say(text) {
  messages.addPending(outbox.add(here.room, text));
  sendNext();
}

function discard(item) {
  outbox.remove(item.uid);
  messages.removePending(item.uid);
  showRooms();
}

// ---- what people do

$("leave").addEventListener("click", () => {
  leave();
  showDoor();
});
$("now").addEventListener("click", () => connection?.retryNow());
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    notice("The link is copied.");
  } catch {
    notice(`This is the link: ${location.href}`);
  }
});
window.addEventListener("beforeunload", (event) => {
  if (!outbox.isEmpty) event.preventDefault();
});

const asked = new URLSearchParams(location.search).get("room");
const before = ofTab.load("chat-here", isObjectOf({ name: isText, room: isText }), null);
if (before?.name && before.room && (!asked || asked === before.room)) {
  enter(before.name, before.room);
} else {
  Object.assign(here, { name: ofBrowser.load("chat-name", isText, ""), room: asked ?? "lobby" });
  showDoor();
}
