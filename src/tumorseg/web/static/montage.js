/** All slices at a glance; drawn as they come into sight. */

import { byId, element, rove } from "./element.js";
import { Painter } from "./painter.js";
import { goTo, on, state } from "./state.js";
import { areaInWords } from "./travel.js";

const SIDE = 150;

let painter = null;
let drawn = new Set();
let only = false;
let seen;

/** Begin to follow the state; `open` shows a slice that was chosen. */
export function startMontage(open) {
  const box = byId("montage");
  rove(box, "button.thumb");
  seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) drawOnce(entry.target);
  }, { root: box, rootMargin: "200px" });
  on("scan", () => { painter = null; if (!box.hidden) build(open); });
  on("mask view", () => { if (!box.hidden) refresh(); });
  on("slice", () => mark());
  box.addEventListener("montage", () => build(open));
}

/** Draw it, now that it is looked at. */
export function showMontage() {
  byId("montage").dispatchEvent(new Event("montage"));
}

function build(open) {
  const { scan } = state;
  if (!scan) return;
  painter = painter?.scan === scan ? painter : new Painter(scan);
  const box = byId("montage");
  const { areas } = scan;
  seen.disconnect();
  drawn = new Set();
  const [rowStep, columnStep] = scan.summary.spacing ? scan.summary.spacing.slice(1) : [1, 1];
  const ratio = (scan.width * columnStep) / (scan.height * rowStep);
  const chosen = Array.from({ length: scan.slices }, (_, slice) => slice).filter((slice) => !only || areas[slice]);
  const thumbs = chosen.map((slice) => {
    const canvas = element("canvas", { "aria-hidden": "true" });
    Object.assign(canvas, { width: Math.round(SIDE * 2 * Math.min(1, ratio)), height: Math.round((SIDE * 2 * Math.min(1, ratio)) / ratio) });
    return element("button", { type: "button", class: "thumb", "data-slice": slice, tabindex: slice === state.slice ? 0 : -1,
      "aria-label": `Slice ${slice + 1}, ${areaInWords(scan, slice)}`, onclick: () => { goTo(slice); open(); } },
      canvas, element("span", {}, slice + 1));
  });
  if (thumbs.length && !thumbs.some((thumb) => thumb.tabIndex === 0)) thumbs[0].tabIndex = 0;
  const filter = element("label", { class: "montage-filter" },
    element("input", { type: "checkbox", onchange: (event) => { only = event.target.checked; build(open); } }), " Only slices with tumour");
  filter.firstElementChild.checked = only;
  box.replaceChildren(filter, element("div", { class: "thumbs" }, ...thumbs));
  if (!thumbs.length) box.append(element("p", { class: "note" }, "No slice is marked at this threshold."));
  for (const thumb of thumbs) seen.observe(thumb);
  mark();
  box.querySelector(".thumb.here")?.scrollIntoView({ block: "center" });
}

function refresh() {
  if (only) return build(() => byId("tab-slice").click());
  drawn.clear();
  seen.disconnect();
  for (const thumb of byId("montage").querySelectorAll(".thumb")) seen.observe(thumb);
}

function drawOnce(thumb) {
  const slice = Number(thumb.dataset.slice);
  if (drawn.has(slice) || !painter) return;
  drawn.add(slice);
  const canvas = thumb.querySelector("canvas");
  const { scan } = painter;
  painter.paint(canvas.getContext("2d"), slice, state.view, {
    x: 0, y: 0, across: canvas.width / scan.width, down: canvas.height / scan.height, thin: 1.1,
  });
}

function mark() {
  for (const thumb of byId("montage").querySelectorAll(".thumb")) {
    const here = Number(thumb.dataset.slice) === state.slice;
    thumb.classList.toggle("here", here);
    thumb.toggleAttribute("aria-current", here);
  }
}
