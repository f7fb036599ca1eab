/** Elements built from words: text goes in as text, never as markup. */

/**
 * @param {string} tag
 * @param {Object<string, unknown>} [attributes] "on…" are listeners; true is an empty attribute, false and null none.
 * @param {...(Node|string|number|null|false)} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== false && child !== undefined).map(asNode));
  return made;
}

const asNode = (child) => (child instanceof Node ? child : String(child));

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** One button of several in a row takes the focus; arrow keys move it (roving focus). */
export function rove(container, selector) {
  container.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const all = [...container.querySelectorAll(selector)].filter((one) => !one.disabled);
    const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    for (const one of all) one.tabIndex = one === next ? 0 : -1;
    next.focus();
    if (["radio", "tab"].includes(next.getAttribute("role"))) next.click();
  });
}

/** Say something to those who listen rather than look. */
export function say(text) {
  byId("said").textContent = text;
}
