/** Measurements and warnings of the open scan, and the threshold that they follow. */

import { byId, element, say } from "./element.js";
import { measure } from "./measure.js";
import { sentence } from "./notices.js";
import { on, state, tell } from "./state.js";
import { count, fixed, whole } from "./words.js";

const PAUSE = 90;

let waiting = 0;

/** Begin to follow the state. */
export function startMeasurements() {
  const slider = byId("threshold");
  slider.addEventListener("input", () => setThreshold(Number(slider.value)));
  byId("threshold-reset").addEventListener("click", () => setThreshold(state.scan.ownThreshold));
  on("scan", () => { showWarnings(); show(); });
  on("mask slice saved", show);
}

function setThreshold(threshold) {
  const { scan } = state;
  if (!scan || scan.edit) return;
  scan.setThreshold(threshold);
  tell("mask");
}

function show() {
  const { scan } = state;
  if (!scan) return;
  showThreshold(scan);
  const { spacing } = scan.summary;
  const { areas } = scan;
  const voxels = areas.reduce((sum, area) => sum + area, 0);
  const largest = scan.largest;
  const facts = byId("measures");
  const millimetres = spacing ? spacing[1] * spacing[2] : null;
  const rows = [
    ["Volume", spacing ? `${fixed((voxels * spacing[0] * millimetres) / 1000, 1)} ml` : count(voxels, "voxel"), "volume", spacing ? count(voxels, "voxel") : ""],
    ["Largest area", voxels ? area(areas[largest], millimetres) : "–", "largest-area", voxels ? `slice ${largest + 1}` : ""],
    ["Diameter", voxels ? (facts.dataset.diameter ?? "…") : "–", "diameter", voxels ? (facts.dataset.diameterSlice ?? "") : ""],
    ["Pieces", voxels ? (facts.dataset.components ?? "…") : "0", "components", "connected in 3D"],
    ["Slices with tumour", `${whole(areas.filter(Boolean).length)} of ${whole(scan.slices)}`, "tumour-slices", ""],
    ["This slice", areas[state.slice] ? area(areas[state.slice], millimetres) : "none marked", "slice-area-value", ""],
  ];
  facts.replaceChildren(...rows.map(([name, value, key, more]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, element("span", { "data-measure": key }, value), more && element("small", {}, more)))));
  byId("measures-note").textContent = [
    scan.edit ? "Of the mask as corrected." : "",
    spacing ? "" : "The file says nothing of the spacing, so there are no millimetres.",
  ].join(" ").trim();
  clearTimeout(waiting);
  if (voxels && facts.dataset.version !== key(scan)) waiting = setTimeout(() => finish(scan), PAUSE);
}

const key = (scan) => `${scan.job}/${scan.summary.index}/${scan.version}`;

function area(pixels, millimetres) {
  return millimetres ? `${fixed((pixels * millimetres) / 100, 2)} cm²` : count(pixels, "pixel");
}

/** What takes longer than a frame comes when the slider rests. */
function finish(scan) {
  if (scan !== state.scan) return;
  const { spacing } = scan.summary;
  const found = measure(scan, spacing ? spacing.slice(1) : [1, 1]);
  const facts = byId("measures");
  facts.dataset.version = key(scan);
  facts.dataset.components = whole(found.components);
  facts.dataset.diameter = `${fixed(found.diameter, 1)} ${spacing ? "mm" : "pixels"}`;
  facts.dataset.diameterSlice = `slice ${found.diameterSlice + 1}`;
  show();
}

function showThreshold(scan) {
  const slider = byId("threshold");
  slider.value = scan.threshold;
  slider.disabled = Boolean(scan.edit);
  byId("threshold-value").textContent = fixed(scan.threshold, 2);
  byId("threshold-reset").hidden = scan.asAnswered || Boolean(scan.edit);
  byId("threshold-note").textContent = scan.edit
    ? "The correction by hand stands in its place. Discard it to move the threshold again."
    : scan.asAnswered
      ? `As chosen for this model on validation patients.`
      : `The model’s own is ${fixed(scan.ownThreshold, 2)}${cleaned(scan) ? "; the cleaning that follows it is left out here" : ""}.`;
}

const cleaned = (scan) => Object.values(scan.summary.postprocessing).some(Boolean);

function showWarnings() {
  const { scan } = state;
  const warnings = scan?.summary.warnings ?? [];
  byId("warnings-panel").hidden = !warnings.length;
  byId("warnings").replaceChildren(...warnings.map(({ text, advice }) =>
    element("li", {}, element("strong", {}, sentence(text)), advice ? ` ${sentence(advice)}` : "")));
  if (warnings.length) say(`${count(warnings.length, "warning")}: ${warnings.map(({ text }) => text).join("; ")}`);
}
