/** The one dialog of the page: opened with a title and a body, closed with a value. */

import { byId, element } from "./element.js";

let line = Promise.resolve();

/**
 * Open the dialog; several wait for each other.
 *
 * @param {string} title
 * @param {(close: (value: unknown) => void) => Node[]} build what stands in it
 * @param {{wide?: boolean}} [options]
 * @returns {Promise<unknown>} what it was closed with; null where it was dismissed
 */
export function openDialog(title, build, { wide = false } = {}) {
  const next = line.then(() => show(title, build, wide));
  line = next.catch(() => null);
  return next;
}

function show(title, build, wide) {
  const dialog = byId("dialog");
  return new Promise((resolve) => {
    let value = null;
    const close = (chosen) => {
      value = chosen;
      dialog.close();
    };
    dialog.className = wide ? "wide" : "";
    dialog.replaceChildren(
      element("div", { class: "dialog-head" },
        element("h2", { id: "dialog-title" }, title),
        element("button", { type: "button", class: "quiet icon", "aria-label": "Close", onclick: () => close(null) }, "×")),
      element("div", { class: "dialog-body" }, ...build(close)),
    );
    dialog.setAttribute("aria-labelledby", "dialog-title");
    dialog.addEventListener("close", () => { dialog.replaceChildren(); resolve(value); }, { once: true });
    dialog.onclick = (event) => {
      if (event.target === dialog) close(null);
    };
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? dialog.querySelector(".dialog-body :is(select, input, button, [tabindex])"))?.focus({ preventScroll: true });
  });
}
