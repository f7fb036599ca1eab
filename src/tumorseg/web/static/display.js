/** How slices are drawn: sequence, outline, fill, maps with their legend, brightness and contrast. */

import { MAPS } from "./colours.js";
import { byId, element } from "./element.js";
import { on, setView, state } from "./state.js";
import { CLASSES } from "./colours.js";
import { capital, sequence } from "./words.js";

const AT_FIRST = { outline: true, fill: false, map: "none", opacity: 60, brightness: 0, contrast: 100 };
const SLIDES = ["opacity", "brightness", "contrast"];
const ENDS = {
  probability: ["0", "probability of tumour", "1"],
  uncertainty: ["certain", "uncertainty (entropy)", "undecided"],
};

/** Begin to listen and to follow the state. */
export function startDisplay() {
  for (const name of ["outline", "fill"]) byId(name).addEventListener("change", (event) => setView({ [name]: event.target.checked }));
  for (const name of SLIDES) byId(name).addEventListener("input", (event) => setView({ [name]: Number(event.target.value) }));
  byId("maps").addEventListener("change", (event) => setView({ map: event.target.value }));
  byId("channels").addEventListener("change", (event) => setView({ channel: Number(event.target.value) }));
  byId("display-reset").addEventListener("click", () => setView(AT_FIRST));
  on("scan", offerChannels);
  on("scan view mask", show);
}

/** The map after this one. */
export function nextMap() {
  const order = ["none", "probability", "uncertainty"];
  setView({ map: order[(order.indexOf(state.view.map) + 1) % order.length] });
}

/** A scan opens on FLAIR, which shows the tumour best. */
export function firstChannel(scan) {
  return Math.max(0, scan.summary.channels.indexOf("flair"));
}

function offerChannels() {
  const { scan } = state;
  if (!scan) return;
  const names = scan.summary.channels;
  byId("channels").hidden = names.length < 2;
  byId("channels").replaceChildren(
    element("legend", {}, "Sequence"),
    ...names.map((name, index) => element("label", {}, element("input", { type: "radio", name: "channel", value: index }), element("span", {}, sequence(name)))),
  );
}

function show() {
  const { view, scan } = state;
  for (const name of ["outline", "fill"]) byId(name).checked = view[name];
  for (const name of SLIDES) {
    const slider = byId(name);
    slider.value = view[name];
    slider.closest("label").querySelector("output").textContent = `${view[name] > 0 && name === "brightness" ? "+" : ""}${view[name]}${slider.dataset.unit ?? ""}`;
  }
  for (const radio of byId("maps").querySelectorAll("input")) radio.checked = radio.value === view.map;
  for (const radio of byId("channels").querySelectorAll("input")) radio.checked = Number(radio.value) === view.channel;
  showLegend(view, scan);
  showKey(scan);
}

function showLegend({ map }, scan) {
  const legend = byId("legend");
  legend.hidden = map === "none";
  if (legend.hidden) return;
  const canvas = legend.querySelector("canvas");
  const context = canvas.getContext("2d");
  const colours = MAPS[map];
  for (let value = 0; value < 256; value += 1) {
    context.fillStyle = `rgb(${colours[value * 3]} ${colours[value * 3 + 1]} ${colours[value * 3 + 2]})`;
    context.fillRect(value, 0, 1, 12);
  }
  if (map === "probability" && scan && !scan.edit) {
    const x = Math.round(scan.threshold * 255);
    context.fillStyle = "#000";
    context.fillRect(x - 2, 0, 5, 12);
    context.fillStyle = "#fff";
    context.fillRect(x - 1, 0, 3, 12);
  }
  legend.querySelectorAll("span").forEach((span, index) => { span.textContent = ENDS[map][index]; });
}

/** Which line is which, on the picture itself. */
function showKey(scan) {
  const lines = !scan || !state.view.outline && !state.view.fill ? [] : [
    ...(scan.classes.length > 1
      ? scan.classes.map((name, index) => [capital(name), `class-${index % CLASSES.length}`])
      : [[scan.edit ? "Corrected by hand" : "Outline by the model", scan.edit ? "edited" : "predicted"]]),
    ...(scan.reference ? [["Reference", "reference"]] : []),
  ];
  byId("key-box").replaceChildren(...lines.map(([word, kind]) =>
    element("span", {}, element("i", { class: `line ${kind}${scan.reference && kind !== "reference" ? " dashed" : ""}` }), word)));
}
