/** The list of keys. */

import { openDialog } from "./dialogs.js";
import { element } from "./element.js";

const KEYS = [
  ["Slices", [["↑ ↓ ← →", "one slice back or on"], ["Page Up, Page Down", "ten slices"], ["Home, End", "first, last"], ["L", "largest section"], ["M", "montage, and back"]]],
  ["Picture", [["O", "outline"], ["F", "fill"], ["P", "next map: probability, uncertainty, none"], ["S", "next sequence"], ["+ − 0", "larger, smaller, whole slice"]]],
  ["Correction", [["B, E, V", "brush, eraser, look"], ["[ ]", "smaller, larger brush"], ["Ctrl Z, Ctrl Shift Z", "undo, redo"], ["Ctrl S", "save"]]],
  ["Mouse and touch", [["Wheel, drag", "slices"], ["Ctrl wheel, pinch", "zoom; then drag to move"], ["Right button, drag", "brightness and contrast"], ["Finger across", "slices"]]],
];

/** Show it. */
export function showHelp() {
  openDialog("Keys and gestures", () => [
    element("div", { class: "keys" }, ...KEYS.map(([title, rows]) => element("section", {},
      element("h3", {}, title),
      element("dl", {}, ...rows.map(([keys, words]) => element("div", {}, element("dt", {}, element("kbd", {}, keys)), element("dd", {}, words))))))),
    element("p", { class: "note" }, "Outlines are drawn by a neural network and can be wrong. Research use only. Not a medical device."),
  ], { wide: true });
}
