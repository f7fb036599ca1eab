/** Correction by hand: brush, eraser, undo and redo, saved on the server. */

import { byId, rove, say } from "./element.js";
import { complain, notice } from "./notices.js";
import { ask } from "./server.js";
import { pixelAt, ringAt } from "./stage.js";
import { on, state, tell } from "./state.js";
import { capital, count } from "./words.js";

const MOST_STEPS = 200;

const past = [];
const future = [];
let stroke = null;
let saving = null;

/** Begin to listen. */
export function startCorrection() {
  const canvas = byId("slice");
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", carryOn);
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", () => ringAt(null));
  const panel = byId("correct-panel");
  rove(panel, "[data-tool]");
  for (const button of panel.querySelectorAll("[data-tool]")) button.addEventListener("click", () => setTool(button.dataset.tool));
  panel.addEventListener("toggle", () => { if (!panel.open) setTool("look"); });
  byId("brush-size").addEventListener("input", (event) => setSize(Number(event.target.value)));
  byId("brush-class").addEventListener("change", (event) => { state.brush.value = Number(event.target.value); });
  byId("undo").addEventListener("click", undo);
  byId("redo").addEventListener("click", redo);
  byId("save-edit").addEventListener("click", () => save());
  byId("discard-edit").addEventListener("click", discard);
  on("scan", () => { past.length = 0; future.length = 0; setTool("look"); offerClasses(); show(); });
  on("mask saved tool", show);
  addEventListener("beforeunload", (event) => { if (state.scan?.unsaved) event.preventDefault(); });
}

/** "look", "brush" or "eraser". */
export function setTool(tool) {
  if (tool !== "look" && !state.scan) return;
  state.tool = tool;
  if (tool !== "look") byId("correct-panel").open = true;
  else ringAt(null);
  tell("tool");
}

/** The brush's diameter in pixels. */
export function setSize(size) {
  const slider = byId("brush-size");
  slider.value = size;
  state.brush.size = Number(slider.value);
  tell("tool");
}

/** Take the last stroke back. */
export function undo() {
  step(past, future, "before", "Undone");
}

/** Paint it again. */
export function redo() {
  step(future, past, "after", "Painted again");
}

/** Send the correction to the server, if there is one that it has not. Whether it has it now. */
export async function save() {
  const { scan } = state;
  if (!scan?.unsaved) return true;
  saving ??= (async () => {
    const sent = scan.version;
    try {
      await ask(`${scan.path}/edit`, { method: "PUT", body: scan.edit, headers: { "Content-Type": "application/octet-stream" } });
      if (scan.version === sent) scan.unsaved = false;
      notice("The correction is saved", { kind: "done", key: "edit" });
      tell("saved");
      return true;
    } catch (problem) {
      complain(problem, { run: () => save(), key: "edit" });
      return false;
    } finally {
      saving = null;
    }
  })();
  return saving;
}

async function discard() {
  const { scan } = state;
  if (!scan?.edit) return;
  try {
    await ask(`${scan.path}/edit`, { method: "DELETE" });
  } catch (problem) {
    // Of one that was never saved the server knows nothing.
    if (problem.status !== 404) return complain(problem, { run: discard, key: "edit" });
  }
  scan.dropEdit();
  past.length = 0;
  future.length = 0;
  setTool("look");
  tell("mask");
  tell("saved");
  say("The correction is discarded");
}

function begin(event) {
  const { scan, tool } = state;
  if (!event.isPrimary) return takeBack();
  if (!scan || tool === "look" || event.button !== 0) return;
  event.preventDefault();
  const began = !scan.edit;
  scan.startEdit();
  const frame = scan.mask(state.slice);
  stroke = { began, slice: state.slice, frame, before: frame.slice(), at: pixelAt(event), value: tool === "brush" ? state.brush.value : 0 };
  dab(stroke.at, stroke.at);
}

function carryOn(event) {
  if (state.tool === "look" || !state.scan) return;
  const at = pixelAt(event);
  ringAt(at);
  if (!stroke) return;
  if (!event.isPrimary || stroke.slice !== state.slice) return;
  dab(stroke.at, at);
  stroke.at = at;
}

/** Of a stroke that changed nothing, or that a second finger turned into a pinch, nothing is left. */
function takeBack() {
  if (!stroke) return;
  const { began, slice, frame, before } = stroke;
  stroke = null;
  frame.set(before);
  if (began) state.scan.dropEdit();
  else state.scan.painted(slice);
  tell("mask");
}

function end() {
  if (!stroke) return;
  if (stroke.before.every((value, place) => value === stroke.frame[place])) return takeBack();
  const { slice, frame, before } = stroke;
  stroke = null;
  past.push({ slice, before, after: frame.slice() });
  if (past.length > MOST_STEPS) past.shift();
  future.length = 0;
  state.scan.painted(slice);
  tell("mask");
}

/** Paint a round line; in pixels of the slice. */
function dab([fromX, fromY], [toX, toY]) {
  const { scan } = state;
  const radius = state.brush.size / 2;
  const [dx, dy] = [toX - fromX, toY - fromY];
  const length = dx * dx + dy * dy;
  const [top, bottom] = [Math.max(0, Math.floor(Math.min(fromY, toY) - radius)), Math.min(scan.height - 1, Math.ceil(Math.max(fromY, toY) + radius))];
  const [left, right] = [Math.max(0, Math.floor(Math.min(fromX, toX) - radius)), Math.min(scan.width - 1, Math.ceil(Math.max(fromX, toX) + radius))];
  for (let y = top; y <= bottom; y += 1) {
    for (let x = left; x <= right; x += 1) {
      const [px, py] = [x + 0.5 - fromX, y + 0.5 - fromY];
      const along = length ? Math.max(0, Math.min(1, (px * dx + py * dy) / length)) : 0;
      if (Math.hypot(px - along * dx, py - along * dy) <= Math.max(radius, 0.71)) stroke.frame[y * scan.width + x] = stroke.value;
    }
  }
  scan.painted(stroke.slice);
  tell("mask");
}

function step(from, to, which, words) {
  const change = from.pop();
  const { scan } = state;
  if (!change || !scan) return;
  scan.edit.set(change[which], change.slice * scan.area);
  scan.painted(change.slice);
  to.push(change);
  if (state.slice !== change.slice) {
    state.slice = change.slice;
    tell("slice");
  }
  tell("mask");
  say(words);
}

function offerClasses() {
  const { scan } = state;
  const several = (scan?.classes.length ?? 1) > 1;
  byId("brush-class-row").hidden = !several;
  byId("brush-class").replaceChildren(...(several ? scan.classes.map((name, index) => new Option(capital(name), index + 1)) : []));
  state.brush.value = 1;
}

function show() {
  const { scan, tool } = state;
  for (const button of byId("correct-panel").querySelectorAll("[data-tool]")) {
    const here = button.dataset.tool === tool;
    button.setAttribute("aria-checked", here);
    button.tabIndex = here ? 0 : -1;
  }
  byId("undo").disabled = !past.length;
  byId("redo").disabled = !future.length;
  byId("save-edit").disabled = !scan?.unsaved;
  byId("discard-edit").hidden = !scan?.edit;
  byId("edit-note").textContent = !scan?.edit
    ? "Paint on the slice; the arrow keys move on. Nothing is sent before you save."
    : scan.unsaved
      ? `Not saved yet; ${count(past.length, "stroke")}.`
      : "Saved. Downloads hold the corrected mask; the training ZIP can be given to tumorseg train.";
  byId("brush-size").closest("label").querySelector("output").textContent = `${state.brush.size} px`;
}
