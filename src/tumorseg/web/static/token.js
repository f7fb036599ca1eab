/** The token that a server may ask for, kept in this tab alone. */

import { openDialog } from "./dialogs.js";
import { element } from "./element.js";

let asking = null;

/** Ask for the token once, however many requests wait for it; null where the person would not give one. */
export function askForToken(refused) {
  asking ??= openDialog("This server asks for a token", (close) => [
    element("form", { class: "rows", onsubmit: (event) => { event.preventDefault(); close(event.target.token.value.trim()); } },
      element("p", {}, refused ? "That token was not accepted. " : "", "Whoever runs the server can tell it to you. It is kept in this tab until you close it."),
      element("label", { class: "stack" }, "Token",
        element("input", { type: "password", name: "token", required: true, autocomplete: "off", autofocus: true })),
      element("p", { class: "dialog-buttons" }, element("button", { class: "main" }, "Continue"))),
  ]).finally(() => { asking = null; });
  return asking;
}
