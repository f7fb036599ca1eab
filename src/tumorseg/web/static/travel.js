/** The way through the slices: slider, the profile of areas above it, and what is said of the slice in sight. */

import { LINES } from "./colours.js";
import { byId } from "./element.js";
import { goTo, on, state } from "./state.js";
import { count, fixed, sequence, whole } from "./words.js";

/** Width of a slider's thumb, in CSS pixels. */
const THUMB = 16;

/** Begin to follow the state. */
export function startTravel() {
  const slider = byId("slice-slider");
  slider.addEventListener("input", () => goTo(Number(slider.value) - 1));
  byId("largest").addEventListener("click", () => state.scan && goTo(state.scan.largest));
  const profile = byId("profile");
  const jump = (event) => {
    if (event.buttons !== 1 || !state.scan) return;
    const box = profile.getBoundingClientRect();
    goTo(Math.floor(((event.clientX - box.left) / box.width) * state.scan.slices));
  };
  profile.addEventListener("pointerdown", (event) => { profile.setPointerCapture(event.pointerId); jump(event); });
  profile.addEventListener("pointermove", jump);
  new ResizeObserver(drawProfile).observe(profile);
  on("scan slice mask view", show);
  document.addEventListener("theme", drawProfile);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawProfile);
}

/** In words: what a slice shows. */
export function areaInWords(scan, slice) {
  const pixels = scan.areas[slice];
  if (!pixels) return "no tumour marked";
  const { spacing } = scan.summary;
  return spacing ? `${fixed((pixels * spacing[1] * spacing[2]) / 100, 2)} cm²` : count(pixels, "pixel");
}

function show() {
  const { scan, slice } = state;
  if (!scan) return;
  const slider = byId("slice-slider");
  slider.max = scan.slices;
  slider.value = slice + 1;
  const words = areaInWords(scan, slice);
  slider.setAttribute("aria-valuetext", `slice ${slice + 1} of ${scan.slices}, ${words}`);
  byId("slice-text").textContent = `Slice ${whole(slice + 1)} of ${whole(scan.slices)}`;
  byId("slice-area").textContent = words;
  const channel = sequence(scan.summary.channels[state.view.channel] ?? "");
  byId("slice-label").textContent = `${channel}  ${slice + 1}/${scan.slices}`;
  byId("slice").setAttribute("aria-label", `${channel}, slice ${slice + 1} of ${scan.slices}, ${words}`);
  byId("largest").disabled = !scan.areas.some(Boolean);
  document.body.classList.toggle("lone-slice", scan.slices === 1);
  drawProfile();
}

function drawProfile() {
  const canvas = byId("profile");
  const { scan, slice } = state;
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [canvas.clientWidth, canvas.clientHeight];
  if (!scan || !wide) return;
  Object.assign(canvas, { width: wide * ratio, height: high * ratio });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const styles = getComputedStyle(canvas);
  const { areas, referenceAreas } = scan;
  const most = Math.max(1, ...areas, ...(referenceAreas ?? []));
  const step = wide / scan.slices;
  const gap = step > 4 ? 1 : 0;
  alignSlider(step, wide);
  context.fillStyle = styles.getPropertyValue("--grid");
  context.fillRect(0, high - 1, wide, 1);
  context.fillStyle = styles.getPropertyValue("--accent");
  context.globalAlpha = 0.22;
  context.fillRect(slice * step, 0, Math.max(step, 2), high);
  context.globalAlpha = 1;
  for (let index = 0; index < scan.slices; index += 1) {
    const tall = (areas[index] / most) * (high - 3);
    if (!tall) continue;
    context.fillStyle = index === slice ? styles.getPropertyValue("--accent") : styles.getPropertyValue("--bar");
    context.fillRect(index * step, high - Math.max(tall, 1.5), step - gap, Math.max(tall, 1.5));
  }
  if (!referenceAreas) return;
  context.strokeStyle = LINES.reference;
  context.lineWidth = 2;
  context.beginPath();
  referenceAreas.forEach((area, index) => {
    const y = high - 1 - (area / most) * (high - 3);
    context.lineTo(index * step, y);
    context.lineTo((index + 1) * step, y);
  });
  context.stroke();
}

/** The slider's thumb stands below the middle of the slice's bar. */
function alignSlider(step, wide) {
  const { style } = byId("slice-slider");
  style.width = `${wide - step + THUMB}px`;
  style.marginInlineStart = `${(step - THUMB) / 2}px`;
}
