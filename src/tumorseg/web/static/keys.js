/** Keys of the page, wherever the focus is but in fields and dialogs. */

import { redo, save, setSize, setTool, undo } from "./correction.js";
import { nextMap } from "./display.js";
import { byId } from "./element.js";
import { showHelp } from "./help.js";
import { fit, zoomBy } from "./stage.js";
import { goTo, setView, state } from "./state.js";

const PAGE = 10;

/** Begin to listen. */
export function startKeys() {
  byId("help").addEventListener("click", showHelp);
  addEventListener("keydown", (event) => {
    if (byId("dialog").open || event.altKey) return;
    const { target } = event;
    const typing = target.matches?.("input:not([type=range], [type=checkbox], [type=radio]), select, textarea");
    if (typing) return;
    if (event.ctrlKey || event.metaKey) return withControl(event);
    if (event.key === "?") return handled(event, showHelp);
    if (!state.scan || byId("viewer").hidden) return;
    // Sliders, radios and tabs have arrow keys of their own.
    const arrows = /^(Arrow|Page|Home$|End$)/.test(event.key);
    if (arrows && target.matches?.("input, [role=radio], [role=tab], .thumb, .scroll, summary")) return;
    if (arrows && !byId("montage").hidden) return;
    const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act) handled(event, act);
  });
}

const KEYS = {
  ArrowUp: () => goTo(state.slice - 1),
  ArrowLeft: () => goTo(state.slice - 1),
  ArrowDown: () => goTo(state.slice + 1),
  ArrowRight: () => goTo(state.slice + 1),
  PageUp: () => goTo(state.slice - PAGE),
  PageDown: () => goTo(state.slice + PAGE),
  Home: () => goTo(0),
  End: () => goTo(state.scan.slices - 1),
  l: () => goTo(state.scan.largest),
  m: () => byId(byId("montage").hidden ? "tab-montage" : "tab-slice").click(),
  o: () => setView({ outline: !state.view.outline }),
  f: () => setView({ fill: !state.view.fill }),
  p: nextMap,
  s: () => setView({ channel: (state.view.channel + 1) % state.scan.summary.channels.length }),
  b: () => setTool("brush"),
  e: () => setTool("eraser"),
  v: () => setTool("look"),
  "[": () => setSize(state.brush.size - 2),
  "]": () => setSize(state.brush.size + 2),
  "+": () => zoomBy(1.4),
  "=": () => zoomBy(1.4),
  "-": () => zoomBy(1 / 1.4),
  0: fit,
};

function withControl(event) {
  const key = event.key.toLowerCase();
  if (key === "z") handled(event, event.shiftKey ? redo : undo);
  else if (key === "y") handled(event, redo);
  else if (key === "s" && state.scan) handled(event, save);
}

function handled(event, act) {
  event.preventDefault();
  act();
}
