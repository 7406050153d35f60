// What the browser keeps: for the tab, and for all visits. What is stored may be anything, and the
// storage denied or full: then this page's memory stands in.

class Kept {
  #storage; // a function, for even to name a storage fails where it is denied
  #memory = new Map();

  constructor(storage) {
    this.#storage = storage;
  }

  load(key, isValid, fallback) {
    if (this.#memory.has(key)) return this.#memory.get(key);
    try {
      const value = JSON.parse(this.#storage().getItem(key));
      return isValid(value) ? value : fallback;
    } catch {
      return fallback;
    }
  }

  save(key, value) {
    try {
      this.#storage().setItem(key, JSON.stringify(value));
      this.#memory.delete(key);
    } catch {
      this.#memory.set(key, value);
    }
  }
}

export const ofTab = new Kept(() => sessionStorage);
export const ofBrowser = new Kept(() => localStorage);

export const isText = (value) => typeof value === "string";
export const isListOf = (isValid) => (value) => Array.isArray(value) && value.every(isValid);
export const isObjectOf = (fields) => (value) =>
  typeof value === "object" && value !== null && Object.entries(fields).every(([key, isValid]) => isValid(value[key]));

// randomUUID exists on https and on this machine only; a chat in the home network is neither.
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const isRandomId = (value) => isText(value) && /^[0-9A-Za-z-]{8,64}$/.test(value);
