// Whether there is a connection, and when it is tried again.

import { $ } from "/dom.js";

const TEXTS = {
  connecting: "Connecting…",
  connected: "Connected",
  waiting: "No connection",
  away: "The chat is away for a moment",
};

let countdown = null;

// state: one of those above; waiting counts down to `until`, and may have a reason.
export function showState(state, until = 0, reason = "") {
  clearInterval(countdown);
  const text = reason ? `${TEXTS[state]}: ${reason}` : TEXTS[state];
  if ($("state-text").textContent !== text) $("state-text").textContent = text; // else it were read out again
  $("chat").dataset.state = state;
  $("people-title").textContent = state === "connected" ? "Here now" : "Last seen here";
  $("countdown").textContent = "";
  $("now").hidden = state !== "waiting";
  if (state !== "waiting") return;
  const tick = () => {
    const seconds = Math.max(1, Math.ceil((until - Date.now()) / 1000));
    $("countdown").textContent = `again in ${seconds} s`;
  };
  tick();
  countdown = setInterval(tick, 1000);
}
