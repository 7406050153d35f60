// What all parts of the page do with the document. What people typed goes in as text, never as markup.

export const $ = (id) => document.getElementById(id);

export function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

export function button(label, action) {
  const node = element("button", "quiet", label);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
}

// The beginning of a name, in a circle.
export function badge(name) {
  const [first] = "Segmenter" in Intl ? [...new Intl.Segmenter().segment(name)].map((part) => part.segment) : name;
  const node = element("span", "badge", first.toUpperCase());
  node.setAttribute("aria-hidden", "true");
  return node;
}
