// Where somebody says who they are and where they want to go, and is told why they cannot.

import { $ } from "/dom.js";

export class Door {
  // go(name, room) is called when both are given.
  constructor(go) {
    $("enter").addEventListener("submit", (event) => {
      event.preventDefault();
      const [name, room] = [$("name").value.trim(), $("room").value.trim().toLowerCase()];
      if (!name) this.#refuse("Please say your name.", "name");
      else if (!room) this.#refuse("Please say which room.", "room");
      else go(name, room);
    });
  }

  // field: "name" or "room", if it is that which was refused. unsent: by room, how many messages.
  show({ name, room, refusal = "", field = "", unsent = new Map() }) {
    $("chat").hidden = true;
    $("door").hidden = false;
    $("name").value = name;
    $("room").value = room;
    const count = [...unsent.values()].reduce((sum, more) => sum + more, 0);
    const what = count === 1 ? "1 message not sent" : `${count} messages not sent`;
    $("left-unsent").textContent = count ? `${what}, in ${[...unsent.keys()].join(", ")}.` : "";
    this.#refuse(refusal, field);
    if (!field) $(name ? "room" : "name").focus();
    document.title = "Chat";
  }

  hide() {
    $("door").hidden = true;
    $("chat").hidden = false;
  }

  #refuse(why, refused) {
    $("refusal").textContent = why;
    for (const field of [$("name"), $("room")]) {
      field.removeAttribute("aria-invalid");
      field.removeAttribute("aria-describedby");
    }
    if (!refused) return;
    $(refused).setAttribute("aria-invalid", "true");
    $(refused).setAttribute("aria-describedby", "refusal");
    $(refused).focus();
    $(refused).select();
  }
}
