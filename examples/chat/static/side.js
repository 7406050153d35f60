// Who is here, and which rooms there are. On a phone it comes over the messages when asked for.

import { $, badge, element } from "/dom.js";

export class Side {
  #colours;
  #people = new Map();
  #me = "";

  constructor(colours) {
    this.#colours = colours;
    $("people-toggle").addEventListener("click", () => this.#open(!this.#isOpen));
    $("side-close").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
  }

  // people: { id, name } of each; me: the id of whoever looks at it.
  showPeople(people, me) {
    this.#me = me;
    this.#people = new Map(people.map((person) => [person.id, person]));
    this.#show();
  }

  join(person) {
    this.#people.set(person.id, person);
    this.#show();
  }

  leave(id) {
    this.#people.delete(id);
    this.#show();
  }

  // rooms: their names, in order; unsent: by name, how many messages wait for them.
  showRooms(rooms, current, unsent, go) {
    const all = new Set([...rooms, ...unsent.keys()]);
    $("rooms").replaceChildren(
      ...[...all].map((room) => {
        const link = element("a", "", element("bdi", "", room));
        if (room !== current && unsent.has(room)) link.append(element("span", "unsent", `${unsent.get(room)} not sent`));
        link.href = `/?room=${encodeURIComponent(room)}`;
        if (room === current) link.setAttribute("aria-current", "page");
        link.addEventListener("click", (event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          this.close();
          if (room !== current) go(room);
        });
        return element("li", "", link);
      }),
    );
  }

  close() {
    if (!this.#isOpen) return;
    this.#open(false);
    $("people-toggle").focus();
  }

  #show() {
    const people = [...this.#people.values()].sort((a, b) => a.name.localeCompare(b.name));
    $("people-count").textContent = people.length;
    $("people").replaceChildren(
      ...people.map(({ id, name }) => {
        const label = element("span", "", element("bdi", "", name), id === this.#me ? " (you)" : "");
        return this.#colours.paint(element("li", "", badge(name), label), id);
      }),
    );
  }

  get #isOpen() {
    return $("chat").classList.contains("side-open");
  }

  #open(open) {
    $("people-toggle").setAttribute("aria-expanded", String(open));
    $("chat").classList.toggle("side-open", open);
    if (open) $("side-close").focus();
  }
}
