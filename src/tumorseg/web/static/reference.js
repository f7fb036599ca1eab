/** A reference mask beside the prediction: both outlines, Dice, IoU and HD95. */

import { byId, element } from "./element.js";
import { overlap } from "./measure.js";
import { complain, notice } from "./notices.js";
import { askBytes, askJson, send } from "./server.js";
import { on, state, tell } from "./state.js";
import { fixed } from "./words.js";

const PAUSE = 400;

let waiting = 0;
let asking = null;

/** Begin to listen and to follow the state. */
export function startReference() {
  const input = byId("reference-file");
  byId("pick-reference").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = "";
    if (file) upload(file);
  });
  on("scan mask saved", show);
}

async function upload(file) {
  const { scan } = state;
  if (!scan) return;
  const button = byId("pick-reference");
  button.disabled = true;
  try {
    const form = new FormData();
    form.append("file", file, file.name);
    await send(`${scan.path}/reference`, form, { method: "PUT" });
    scan.setReference(await askBytes(`${scan.path}/volume/reference`, { size: scan.slices * scan.area }));
    notice("The reference is drawn in blue", { kind: "done", key: "reference" });
    tell("mask");
  } catch (problem) {
    complain(problem, { key: "reference", ...(problem.passing ? { run: () => upload(file) } : {}) });
  } finally {
    button.disabled = false;
  }
}

function show() {
  const { scan } = state;
  const there = Boolean(scan?.reference);
  byId("scores").hidden = byId("lines").hidden = !there;
  byId("pick-reference").textContent = there ? "Choose another mask" : "Choose a mask";
  byId("reference-text").hidden = there;
  if (!there) return;
  if (!byId("scores").children.length) byId("reference-panel").open = true;
  byId("lines").replaceChildren(
    element("li", {}, element("i", { class: "line reference" }), "Reference"),
    element("li", {}, element("i", { class: `line dashed ${scan.edit ? "edited" : "predicted"}` }), scan.edit ? "Corrected by hand" : "Outline by the model"),
  );
  const found = overlap(scan);
  tabulate(found, null);
  clearTimeout(waiting);
  asking?.abort();
  // The server measures the border's distance, of what it knows: an unsaved correction it does not.
  if (!scan.unsaved) waiting = setTimeout(() => askScores(scan, found), PAUSE);
}

async function askScores(scan, found) {
  asking = new AbortController();
  try {
    const scores = await askJson(`${scan.path}/scores${scan.query}`, { signal: asking.signal });
    if (scan === state.scan) tabulate(found, scores);
  } catch (problem) {
    if (problem.name !== "AbortError") complain(problem, { run: () => askScores(scan, found), key: "scores" });
  }
}

function tabulate(found, scores) {
  const distance = scores === null
    ? state.scan.unsaved ? "after saving" : "…"
    : scores.hd95 === null || scores.hd95 === undefined ? "undefined" : `${fixed(scores.hd95, 1)} ${scores.hd95_unit ?? ""}`;
  const rows = [
    ["Dice", found ? fixed(found.dice, 3) : "both empty", "dice", "1 is the same mask"],
    ["IoU", found ? fixed(found.iou, 3) : "both empty", "iou", "overlap / union"],
    ["HD95", distance, "hd95", "distance of the borders"],
  ];
  byId("scores").replaceChildren(...rows.map(([name, value, key, more]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, element("span", { "data-measure": key }, value), element("small", {}, more)))));
}
