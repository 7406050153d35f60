// What was typed and is not known to have arrived. It survives a reload, and goes out one by one.

import { isListOf, isObjectOf, isRandomId, isText, ofTab, randomId } from "/storage.js";

const KEY = "chat-outbox";
const isItem = isObjectOf({ uid: isRandomId, room: isText, text: isText, failed: isText });

export class Outbox {
  #items = ofTab.load(KEY, isListOf(isItem), []);

  get isEmpty() {
    return this.#items.length === 0;
  }

  // The rooms for which something is here, and how much.
  get counts() {
    const counts = new Map();
    for (const { room } of this.#items) counts.set(room, (counts.get(room) ?? 0) + 1);
    return counts;
  }

  // What is here for a room, in order: { uid, room, text, failed: why it cannot be sent, or "" }.
  of(room) {
    return this.#items.filter((item) => item.room === room);
  }

  // What can be sent to a room next.
  next(room) {
    return this.of(room).find((item) => !item.failed);
  }

  add(room, text) {
    const item = { uid: randomId(), room, text, failed: "" };
    this.#items.push(item);
    this.#save();
    return item;
  }

  // Keep one, but do not send it; returns it if it was there.
  fail(uid, why) {
    const item = this.#items.find((item) => item.uid === uid);
    if (!item) return undefined;
    item.failed = why;
    this.#save();
    return item;
  }

  // Forget one; returns whether it was there.
  remove(uid) {
    const kept = this.#items.filter((item) => item.uid !== uid);
    if (kept.length === this.#items.length) return false;
    this.#items = kept;
    this.#save();
    return true;
  }

  #save() {
    ofTab.save(KEY, this.#items);
  }
}
