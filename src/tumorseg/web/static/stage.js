/** The slice in sight: zoom, pan, wheel, drag and pinch. */

import { byId } from "./element.js";
import { goTo, on, setView, state } from "./state.js";

const DRAG_PER_SLICE = 14;
const WHEEL_PER_SLICE = 40;
const MOST_ZOOM = 12;

let canvas;
let painter = null;
let zoom = 1;
/** The point of the image in the middle of the stage, in shares of its width and height. */
let centre = [0.5, 0.5];
let pending = false;
let brushRing = null;
const fingers = new Map();

/** Begin to draw whatever the state says. */
export function startStage() {
  canvas = byId("slice");
  new ResizeObserver(redraw).observe(byId("stage"));
  on("slice mask view tool", redraw);
  canvas.addEventListener("wheel", onWheel, { passive: false });
  canvas.addEventListener("pointerdown", onDown);
  canvas.addEventListener("pointermove", onMove);
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, onUp);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  byId("zoom-in").addEventListener("click", () => zoomBy(1.4));
  byId("zoom-out").addEventListener("click", () => zoomBy(1 / 1.4));
  byId("zoom-fit").addEventListener("click", fit);
}

/** Draw another scan from now on. */
export function setPainter(made) {
  painter = made;
  fit();
}

/** The whole slice, in the middle. */
export function fit() {
  zoom = 1;
  centre = [0.5, 0.5];
  redraw();
}

/** Closer or farther, around a point of the stage in CSS pixels; its middle without one. */
export function zoomBy(factor, at = null) {
  if (!painter) return;
  const before = placed();
  const to = Math.max(1, Math.min(MOST_ZOOM, zoom * factor));
  const [x, y] = at ?? [canvas.clientWidth / 2, canvas.clientHeight / 2];
  const [imageX, imageY] = [(x - before.x) / before.wide, (y - before.y) / before.high];
  zoom = to;
  const after = placed();
  centre = [
    imageX - (x - canvas.clientWidth / 2) / after.wide,
    imageY - (y - canvas.clientHeight / 2) / after.high,
  ];
  redraw();
}

/** Where a pointer is, in pixels of the slice. */
export function pixelAt(event) {
  const box = canvas.getBoundingClientRect();
  const { x, y, across, down } = placed();
  return [(event.clientX - box.left - x) / across, (event.clientY - box.top - y) / down];
}

/** Draw before the next frame. */
export function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    draw();
  });
}

/** Show where the brush would paint; null hides it. In pixels of the slice. */
export function ringAt(point) {
  brushRing = point;
  redraw();
}

/** The slice's place on the stage, in CSS pixels. */
function placed() {
  const { width, height, summary } = painter.scan;
  const [rowStep, columnStep] = summary.spacing ? summary.spacing.slice(1) : [1, 1];
  const [wide, high] = [width * columnStep, height * rowStep];
  const scale = Math.min(canvas.clientWidth / wide, canvas.clientHeight / high) * zoom;
  if (zoom > 1) {
    const spareX = Math.min(0.5, canvas.clientWidth / 2 / (wide * scale));
    const spareY = Math.min(0.5, canvas.clientHeight / 2 / (high * scale));
    centre = [Math.max(spareX, Math.min(1 - spareX, centre[0])), Math.max(spareY, Math.min(1 - spareY, centre[1]))];
  } else centre = [0.5, 0.5];
  const size = { wide: wide * scale, high: high * scale };
  return {
    ...size,
    x: canvas.clientWidth / 2 - centre[0] * size.wide,
    y: canvas.clientHeight / 2 - centre[1] * size.high,
    across: columnStep * scale,
    down: rowStep * scale,
  };
}

function draw() {
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  const [wide, high] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (!wide || !high) return;
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#000";
  context.fillRect(0, 0, wide, high);
  if (!painter) return;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const place = placed();
  painter.paint(context, state.slice, state.view, place);
  canvas.dataset.mode = state.tool !== "look" ? "paint" : zoom > 1 ? "pan" : "slices";
  if (brushRing && state.tool !== "look") drawRing(context, place);
}

function drawRing(context, { x, y, across, down }) {
  const radius = state.brush.size / 2;
  context.beginPath();
  context.ellipse(x + brushRing[0] * across, y + brushRing[1] * down, radius * across, radius * down, 0, 0, 2 * Math.PI);
  for (const [colour, width] of [["#000", 3], ["#fff", 1.2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  }
}

let turned = 0;

function onWheel(event) {
  if (!painter) return;
  event.preventDefault();
  if (event.ctrlKey || event.metaKey) {
    const box = canvas.getBoundingClientRect();
    zoomBy(Math.exp(-event.deltaY / 240), [event.clientX - box.left, event.clientY - box.top]);
    return;
  }
  // A mouse wheel turns by notches of 100 and more, a touchpad by a few pixels.
  turned += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? Math.max(-WHEEL_PER_SLICE, Math.min(WHEEL_PER_SLICE, event.deltaY)) : WHEEL_PER_SLICE * Math.sign(event.deltaY);
  const steps = Math.trunc(turned / WHEEL_PER_SLICE);
  turned -= steps * WHEEL_PER_SLICE;
  if (steps) goTo(state.slice + steps);
}

let drag = null;

function onDown(event) {
  if (!painter) return;
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  canvas.setPointerCapture(event.pointerId);
  if (fingers.size === 2) {
    drag = { kind: "pinch", apart: apart() };
    return;
  }
  const painting = state.tool !== "look" && event.button === 0;
  if (painting) {
    drag = null;
    return;
  }
  drag = {
    kind: event.button === 2 ? "window" : zoom > 1 ? "pan" : "slices",
    x: event.clientX,
    y: event.clientY,
    slice: state.slice,
    view: { ...state.view },
    centre: [...centre],
  };
}

function onMove(event) {
  if (!fingers.has(event.pointerId)) return;
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (!drag) return;
  if (drag.kind === "pinch") {
    if (fingers.size < 2) return;
    const box = canvas.getBoundingClientRect();
    const [one, other] = [...fingers.values()];
    const now = apart();
    zoomBy(now / drag.apart, [(one[0] + other[0]) / 2 - box.left, (one[1] + other[1]) / 2 - box.top]);
    drag.apart = now;
    return;
  }
  const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
  if (drag.kind === "slices") {
    // A finger moves across; down it scrolls the page. A mouse moves either way.
    const along = event.pointerType === "touch" ? dx : Math.abs(dx) > Math.abs(dy) ? dx : dy;
    goTo(drag.slice + Math.trunc(along / DRAG_PER_SLICE));
  } else if (drag.kind === "pan") {
    const { wide, high } = placed();
    centre = [drag.centre[0] - dx / wide, drag.centre[1] - dy / high];
    redraw();
  } else {
    setView({
      brightness: Math.round(Math.max(-100, Math.min(100, drag.view.brightness - dy / 3))),
      contrast: Math.round(Math.max(20, Math.min(400, drag.view.contrast * Math.exp(dx / 200)))),
    });
  }
}

function onUp(event) {
  fingers.delete(event.pointerId);
  if (fingers.size < 2) drag = null;
}

function apart() {
  const [one, other] = [...fingers.values()];
  return Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
}
