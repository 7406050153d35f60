// Finds the web addresses in a text, without ever making markup of it.

const ADDRESS = /https?:\/\/[^\s<>"']+/gi;
const CLOSING = { ")": "(", "]": "[" };

// The text as nodes: an <a> for each address, text nodes for the rest.
export function withLinks(text) {
  const nodes = document.createDocumentFragment();
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = withoutPunctuation(match[0]);
    if (!isAddress(address)) continue;
    nodes.append(text.slice(end, match.index), link(address));
    end = match.index + address.length;
  }
  nodes.append(text.slice(end));
  return nodes;
}

// "(see https://example.com/a)." ends before the bracket and the full stop.
function withoutPunctuation(address) {
  for (;;) {
    const last = address.at(-1);
    const opening = CLOSING[last];
    const unbalanced = opening && address.split(opening).length < address.split(last).length;
    if (!unbalanced && !".,;:!?*_".includes(last)) return address;
    address = address.slice(0, -1);
  }
}

function isAddress(text) {
  try {
    return ["http:", "https:"].includes(new URL(text).protocol);
  } catch {
    return false;
  }
}

function link(address) {
  const a = document.createElement("a");
  a.href = address;
  a.target = "_blank";
  a.rel = "noopener noreferrer nofollow";
  a.textContent = address;
  return a;
}
