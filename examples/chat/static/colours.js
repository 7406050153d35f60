// A colour for each of the people in a room.

const START = 262; // degrees
const STEP = 137.5; // the golden angle: each hue is far from those that were given just before

export class Colours {
  #hues = new Map();

  paint(node, id) {
    if (!this.#hues.has(id)) this.#hues.set(id, (START + this.#hues.size * STEP) % 360);
    node.style.setProperty("--hue", this.#hues.get(id));
    return node;
  }

  reset() {
    this.#hues.clear();
  }
}
