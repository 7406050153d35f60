// The WebSocket, and another one when it is lost: soon at first, then less and less often.
// A browser does not always notice that the other side is gone, so the page asks in a silence.

const FIRST_DELAY = 500; // milliseconds
const LONGEST_DELAY = 30_000;
const STABLE = 10_000; // a connection that lasts so long was a good one
const SILENCE = 20_000; // after which the page asks whether anybody is there
export const PATIENCE = 10_000; // how long it waits for an answer, or for the connection

// Close codes after which only a person can help: those of the server's connection.py, what breaks
// its rules, and what is too large for it.
const FINAL = [4000, 4001, 4002, 4003, 1008, 1009];

export class Connection {
  #address;
  #on;
  #socket = null;
  #attempts = 0;
  #timers = {};

  // on: { connecting(), open(), message(object), waiting(time of the next attempt, reason), refused(code, reason) }
  constructor(address, on) {
    this.#address = address;
    this.#on = on;
    window.addEventListener("offline", this.#goOffline);
    window.addEventListener("online", this.#hurry);
    document.addEventListener("visibilitychange", this.#hurry);
    this.#open();
  }

  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(JSON.stringify(message));
    this.#timers.answer ??= setTimeout(() => this.giveUp(), PATIENCE);
  }

  // Try again at once, if it is waiting to.
  retryNow() {
    if (this.#socket === null) this.#open();
  }

  // This connection is no good: make another.
  giveUp() {
    this.#drop();
    this.#wait();
  }

  close() {
    window.removeEventListener("offline", this.#goOffline);
    window.removeEventListener("online", this.#hurry);
    document.removeEventListener("visibilitychange", this.#hurry);
    this.#drop();
  }

  #goOffline = () => {
    if (this.#socket !== null) this.giveUp();
  };

  #hurry = () => {
    if (document.hidden) return;
    this.retryNow();
    this.send({ type: "beat" }); // this machine may have slept
  };

  #drop() {
    Object.values(this.#timers).forEach(clearTimeout);
    this.#timers = {};
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  #open() {
    this.#drop();
    const socket = new WebSocket(this.#address);
    const ifCurrent = (action) => (event) => socket === this.#socket && action(event);
    this.#socket = socket;
    this.#timers.answer = setTimeout(() => this.giveUp(), PATIENCE);
    this.#on.connecting();
    socket.onopen = ifCurrent(() => {
      this.#timers.stable = setTimeout(() => (this.#attempts = 0), STABLE);
      this.#heard();
      this.#on.open();
    });
    socket.onmessage = ifCurrent((event) => {
      this.#heard();
      this.#on.message(JSON.parse(event.data));
    });
    socket.onclose = ifCurrent(({ code, reason }) => {
      this.#drop();
      if (FINAL.includes(code)) {
        this.close();
        this.#on.refused(code, reason);
      } else {
        this.#wait(reason);
      }
    });
  }

  #heard() {
    clearTimeout(this.#timers.answer);
    clearTimeout(this.#timers.silence);
    this.#timers.answer = undefined;
    this.#timers.silence = setTimeout(() => this.send({ type: "beat" }), SILENCE);
  }

  #wait(reason = "") {
    const longest = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#attempts++);
    const delay = longest * (0.5 + Math.random() / 2); // so that a thousand pages do not come back at once
    this.#timers.retry = setTimeout(() => this.#open(), delay);
    this.#on.waiting(Date.now() + delay, reason);
  }
}
