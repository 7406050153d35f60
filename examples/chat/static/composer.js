// The box in which a message is written. What is not sent yet is kept for each room.

import { $ } from "/dom.js";
import { isText, ofTab } from "/storage.js";

const MAX_TEXT = 2000; // characters, as the server counts them; see words.py
const NEAR = 200; // how many are left when the counter shows
const KEY = "chat-drafts";
const isDrafts = (value) => typeof value === "object" && value !== null && Object.values(value).every(isText);

export class Composer {
  #box = $("text");
  #room = "";
  #hasComplained = false;
  #tell;

  // say(text) is called with what is to be sent, tell(notice) with why it cannot be.
  constructor(say, tell) {
    this.#tell = tell;
    const submit = () => {
      const text = this.#take();
      if (text) say(text);
    };
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      submit();
      this.focus();
    });
    this.#box.addEventListener("keydown", (event) => {
      // Enter that ends the composing of a word sends nothing; Safari tells that by 229 only.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      submit();
    });
    this.#box.addEventListener("input", () => this.#changed());
  }

  // Take up what was begun in a room.
  open(room) {
    this.#room = room;
    const drafts = ofTab.load(KEY, isDrafts, {});
    this.#show(Object.hasOwn(drafts, room) ? drafts[room] : "");
    this.focus();
  }

  // Put a message back into the box, before what is there.
  putBack(text) {
    this.#show(this.#box.value ? `${text}\n${this.#box.value}` : text);
    this.focus();
  }

  focus() {
    this.#box.focus();
  }

  #take() {
    const text = this.#box.value.trim();
    if (lengthOf(text) > MAX_TEXT) {
      this.#hasComplained = true;
      this.#tell("This message is too long to be sent.");
      return "";
    }
    this.#show("");
    return text;
  }

  #show(text) {
    this.#box.value = text;
    this.#changed();
  }

  #changed() {
    const text = this.#box.value;
    const length = lengthOf(text.trim());
    $("counter").textContent = length > MAX_TEXT - NEAR ? `${length} of ${MAX_TEXT} characters` : "";
    this.#box.setAttribute("aria-invalid", String(length > MAX_TEXT));
    if (this.#hasComplained && length <= MAX_TEXT) {
      this.#hasComplained = false;
      this.#tell("");
    }
    const { [this.#room]: _, ...others } = ofTab.load(KEY, isDrafts, {});
    ofTab.save(KEY, text ? { ...others, [this.#room]: text } : others);
    if (CSS.supports("field-sizing", "content")) return;
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight + 2}px`; // and its borders
  }
}

const lengthOf = (text) => [...text].length;
