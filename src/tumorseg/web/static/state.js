/** What the page shows just now; who cares listens. */

const listeners = new Map();

/** Jobs of this session, the open scan, the slice in sight and how it is drawn. */
export const state = {
  jobs: [],
  models: [],
  model: "",
  limits: null,
  /** @type {import("./scan.js").Scan|null} */
  scan: null,
  slice: 0,
  view: { channel: 0, outline: true, fill: false, map: "none", opacity: 60, brightness: 0, contrast: 100 },
  tool: "look",
  brush: { size: 9, value: 1 },
};

/** Hear of a change: "jobs", "models", "scan", "slice", "mask", "view", "tool", "saved". */
export function on(names, listener) {
  for (const name of names.split(" ")) listeners.set(name, [...(listeners.get(name) ?? []), listener]);
}

/** Tell of a change. */
export function tell(name) {
  for (const listener of listeners.get(name) ?? []) listener();
}

/** Go to a slice, counted from 0; beyond the ends is the end. */
export function goTo(slice) {
  if (!state.scan) return;
  const inside = Math.max(0, Math.min(state.scan.slices - 1, Math.round(slice)));
  if (inside === state.slice) return;
  state.slice = inside;
  tell("slice");
}

/** Change how slices are drawn. */
export function setView(changes) {
  Object.assign(state.view, changes);
  tell("view");
}
