/** The page: starts its parts and decides which of them is in sight. */

import { save, startCorrection } from "./correction.js";
import { openDialog } from "./dialogs.js";
import { firstChannel, startDisplay } from "./display.js";
import { startDownloads } from "./downloads.js";
import { byId, element, rove, say } from "./element.js";
import { startIntake } from "./intake.js";
import { refresh, startExamples, startJobs } from "./jobs.js";
import { startKeys } from "./keys.js";
import { startMeasurements } from "./measurements.js";
import { startModels } from "./models.js";
import { showMontage, startMontage } from "./montage.js";
import { complain } from "./notices.js";
import { Painter } from "./painter.js";
import { startReference } from "./reference.js";
import { fetchScan } from "./scan.js";
import { askJson } from "./server.js";
import { setPainter, startStage } from "./stage.js";
import { on, state, tell } from "./state.js";
import { showTable, startTable } from "./table.js";
import { startTheme } from "./theme.js";
import { startTravel } from "./travel.js";
import { submit } from "./uploads.js";
import { whole } from "./words.js";

let loading = null;

function show(name) {
  for (const id of ["welcome", "viewer", "table"]) byId(id).hidden = id !== name;
  byId("panels").hidden = name !== "viewer";
  document.body.dataset.view = name;
}

function showTab(name) {
  for (const [tab, panel] of [["tab-slice", "stage"], ["tab-montage", "montage"]]) {
    const here = tab === `tab-${name}`;
    byId(tab).setAttribute("aria-selected", here);
    byId(tab).tabIndex = here ? 0 : -1;
    byId(panel).hidden = !here;
  }
  if (name === "montage") showMontage();
}

/** Fetch a scan and show it, at its largest section. */
async function openScan(job, index) {
  if (!(await leave())) return;
  if (state.scan?.job === job.id && state.scan.summary.index === index) return show("viewer");
  loading?.abort();
  const mine = (loading = new AbortController());
  const bar = byId("loading");
  state.scan = null;
  setPainter(null);
  byId("panels").inert = true;
  byId("scan-name").textContent = job.scans?.find((scan) => scan.index === index)?.name ?? "";
  show("viewer");
  showTab("slice");
  bar.hidden = false;
  bar.firstElementChild.textContent = "Loading the scan";
  try {
    const onProgress = (share) => {
      bar.lastElementChild.value = share;
      bar.firstElementChild.textContent = `Loading the scan, ${whole(share * 100)} %`;
    };
    const scan = await fetchScan(job.id, index, { onProgress, signal: mine.signal });
    state.scan = scan;
    state.slice = scan.largest;
    Object.assign(state.view, { channel: firstChannel(scan), brightness: 0, contrast: 100 });
    history.replaceState(null, "", `#${job.id}/${index}`);
    byId("scan-name").textContent = byId("scan-name").title = scan.summary.name;
    setPainter(new Painter(scan));
    for (const name of ["scan", "slice", "mask", "view", "jobs"]) tell(name);
    byId("slice").focus({ preventScroll: true });
    say(`${scan.summary.name} is open`);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    complain(problem, { key: "open", ...(problem.passing ? { run: () => openScan(job, index) } : {}) });
    goHome();
    if (problem.status === 404 || problem.status === 410) refresh();
  } finally {
    if (loading === mine) {
      bar.hidden = true;
      byId("panels").inert = false;
    }
  }
}

function goHome() {
  state.scan = null;
  history.replaceState(null, "", location.pathname);
  show("welcome");
  tell("jobs");
}

/** Before another scan takes its place: what becomes of a correction that is not saved. */
async function leave() {
  if (!state.scan?.unsaved) return true;
  const answer = await openDialog("The correction is not saved", (close) => [
    element("p", {}, "Save it before you go on?"),
    element("p", { class: "dialog-buttons" },
      element("button", { type: "button", onclick: () => close("drop") }, "Do not save"),
      element("button", { type: "button", class: "main", autofocus: true, onclick: () => close("save") }, "Save")),
  ]);
  if (answer === "save") return save();
  if (answer === "drop") state.scan.unsaved = false;
  return answer === "drop";
}

function openTable() {
  show("table");
  showTable();
  byId("table").querySelector("button")?.focus({ preventScroll: true });
}

/** A link of this session, such as the page's own before it was loaded again. */
function openFromAddress() {
  const [id, index] = location.hash.slice(1).split("/");
  const job = state.jobs.find((one) => one.id === id);
  if (job?.scans?.length) openScan(job, Number(index));
  else if (id) history.replaceState(null, "", location.pathname);
}

async function startLimits() {
  try {
    state.limits = await askJson("/v1/limits");
  } catch (problem) {
    return complain(problem, { run: startLimits, key: "limits" });
  }
  const minutes = state.limits.idle_minutes;
  if (minutes) byId("privacy").append(` They are removed after ${whole(minutes)} idle minutes, or when you remove them.`);
}

async function start() {
  startTheme();
  show("welcome");
  startStage();
  startTravel();
  startMontage(() => showTab("slice"));
  startDisplay();
  startMeasurements();
  startCorrection();
  startReference();
  startDownloads();
  startTable(openScan);
  startKeys();
  startIntake(submit);
  rove(document.querySelector(".tabs"), "[role=tab]");
  rove(document.querySelector(".viewer-tools"), "button");
  byId("tab-slice").addEventListener("click", () => showTab("slice"));
  byId("tab-montage").addEventListener("click", () => showTab("montage"));
  byId("open-table").addEventListener("click", openTable);
  on("removed", () => {
    if (state.scan && !state.jobs.some(({ id }) => id === state.scan.job)) goHome();
    else if (!state.jobs.length) goHome();
  });
  await startModels();
  await Promise.all([startLimits(), startExamples(), startJobs(openScan, openTable)]);
  openFromAddress();
}

start();
