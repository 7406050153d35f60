// What was typed and is not known to have arrived. It survives a reload, and goes out one by one.

const KEY = "chat-outbox";

export class Outbox {
  #items;

  constructor() {
    this.#items = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
  }

  // What waits for a room, in order: { uid, room, text }.
  of(room) {
    return this.#items.filter((item) => item.room === room);
  }

  add(room, text) {
    const item = { uid: crypto.randomUUID?.() ?? fallbackUid(), room, text };
    this.#items.push(item);
    this.#save();
    return item;
  }

  // Forget one; returns it if it was there.
  remove(uid) {
    const item = this.#items.find((item) => item.uid === uid);
    this.#items = this.#items.filter((item) => item.uid !== uid);
    this.#save();
    return item;
  }

  #save() {
    sessionStorage.setItem(KEY, JSON.stringify(this.#items));
  }
}

// randomUUID exists on https and on this machine only; a chat in the home network is neither.
export function fallbackUid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
