/** Messages at the foot of the page: what went wrong, what to do, and a button to try again. */

import { byId, element } from "./element.js";

/**
 * @param {string} text what happened
 * @param {{next?: string, kind?: "error"|"done", action?: string, run?: () => void, key?: string}} [options] a message of
 *   the same key takes the place of the one before; messages of what is done go by themselves.
 * @returns {() => void} which takes it away
 */
export function notice(text, { next = "", kind = "error", action = "", run, key = "" } = {}) {
  const box = byId("notices");
  if (key) box.querySelector(`[data-key="${CSS.escape(key)}"]`)?.remove();
  const close = () => made.remove();
  const made = element(
    "div",
    { class: `notice ${kind}`, role: kind === "error" ? "alert" : "status", "data-key": key || null },
    element("p", {}, element("strong", {}, text), next ? ` ${next}` : ""),
    action && element("button", { type: "button", onclick: () => { close(); run(); } }, action),
    element("button", { type: "button", class: "quiet icon", "aria-label": "Close the message", onclick: close }, "×"),
  );
  box.append(made);
  while (box.children.length > 3) box.firstElementChild.remove();
  if (kind === "done") setTimeout(close, 5000);
  return close;
}

/** Take the message of this key away. */
export function withdraw(key) {
  byId("notices").querySelector(`[data-key="${CSS.escape(key)}"]`)?.remove();
}

/** Show a failed request, with a button that tries again where that can help. */
export function complain(problem, { run, key = "" } = {}) {
  const detail = sentence(problem.detail || problem.title || "The request failed");
  const next = sentence(problem.next_step ?? "");
  return notice(detail, { next, key, ...(run ? { action: "Try again", run } : {}) });
}

/** With a capital and a full stop. */
export function sentence(text) {
  const trimmed = text.trim();
  if (!trimmed) return "";
  const capital = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}
