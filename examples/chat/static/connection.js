// The WebSocket, and another one when it is lost: soon at first, then less and less often.

const FIRST_DELAY = 500; // milliseconds
const LONGEST_DELAY = 30_000;
const STABLE = 10_000; // a connection that lasts so long was a good one
const FINAL = [4000, 4001, 1008]; // close codes after which only a person can help

export class Connection {
  #address;
  #on;
  #socket = null;
  #attempts = 0;
  #timer = null;
  #stableTimer = null;

  // on: { connecting(), open(), message(object), waiting(time of the next attempt), refused(code, reason) }
  constructor(address, on) {
    this.#address = address;
    this.#on = on;
    window.addEventListener("online", this.#hurry);
    document.addEventListener("visibilitychange", this.#hurry);
    this.#open();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  send(message) {
    if (this.isOpen) this.#socket.send(JSON.stringify(message));
  }

  // Try again at once, if it is waiting to.
  retryNow() {
    if (this.#timer !== null) this.#open();
  }

  close() {
    window.removeEventListener("online", this.#hurry);
    document.removeEventListener("visibilitychange", this.#hurry);
    this.#stopTimers();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  #hurry = () => {
    if (!document.hidden) this.retryNow();
  };

  #stopTimers() {
    clearTimeout(this.#timer);
    clearTimeout(this.#stableTimer);
    this.#timer = null;
  }

  #open() {
    this.#stopTimers();
    const socket = new WebSocket(this.#address);
    this.#socket = socket;
    this.#on.connecting();
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      this.#stableTimer = setTimeout(() => (this.#attempts = 0), STABLE);
      this.#on.open();
    };
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#on.message(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (socket !== this.#socket) return;
      this.#stopTimers();
      if (FINAL.includes(event.code)) {
        this.close();
        this.#on.refused(event.code, event.reason);
      } else {
        this.#wait();
      }
    };
  }

  #wait() {
    const longest = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#attempts++);
    const delay = longest * (0.5 + Math.random() / 2); // so that a thousand pages do not come back at once
    this.#timer = setTimeout(() => this.#open(), delay);
    this.#on.waiting(Date.now() + delay);
  }
}
