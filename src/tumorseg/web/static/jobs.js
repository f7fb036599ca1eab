/** The list of this session's scans: uploads, work in progress, answers. */

import { byId, element, say } from "./element.js";
import { complain, notice, sentence, withdraw } from "./notices.js";
import { ask, askJson, download } from "./server.js";
import { on, state, tell } from "./state.js";
import { atHand, mayBeOne, nameOfJob, onJob, resubmit, retry, stop, submitExample, uploads } from "./uploads.js";
import { capital, count, fixed, whole } from "./words.js";

const FAST = 500;
const SLOW = 2000;
const IN_USE = 60_000;
const SHOWN_SCANS = 6;
const BATCH = 4;

const other = new BroadcastChannel("tumorseg");
const mine = new Set();
const reported = new Set();
let open = () => {};
let openTable = () => {};
let timer = 0;
let asked = 0;
let waits = 0;

/**
 * Begin to follow the session's jobs.
 *
 * @param {(job: object, index: number) => void} openScan
 * @param {() => void} showTable
 */
export async function startJobs(openScan, showTable) {
  [open, openTable] = [openScan, showTable];
  onJob((job) => {
    mine.add(job.id);
    state.jobs = [job, ...state.jobs.filter(({ id }) => id !== job.id)];
    other.postMessage("jobs");
    waits = 0;
    arrived();
  });
  other.addEventListener("message", refresh);
  // An abandoned page asks for nothing, so that its scans are removed in time; one that is used keeps them.
  for (const name of ["focus", "pageshow"]) addEventListener(name, () => Date.now() - asked > SLOW && refresh());
  for (const name of ["pointerdown", "keydown", "wheel"]) {
    addEventListener(name, () => Date.now() - asked > IN_USE && state.jobs.length && refresh(), { passive: true, capture: true });
  }
  on("jobs", show);
  on("saved", refresh);
  setInterval(() => { if (uploads.some(({ status }) => status === "busy")) show(); }, 1000);
  await refresh();
}

/** Ask for the list now. */
export async function refresh() {
  asked = Date.now();
  try {
    const { jobs } = await askJson("/v1/segmentations");
    state.jobs = jobs.toSorted((one, next) => String(next.created).localeCompare(String(one.created)));
    withdraw("jobs");
    arrived();
  } catch (problem) {
    complain(problem, { run: refresh, key: "jobs" });
    if (state.jobs.some(active) && problem.passing) schedule(SLOW * 2);
  }
}

const active = ({ status }) => status === "queued" || status === "running";

function schedule(pause) {
  clearTimeout(timer);
  timer = setTimeout(refresh, pause);
}

function arrived() {
  if (state.jobs.some(active)) {
    schedule(waits < 20 ? FAST : SLOW);
    waits += 1;
  } else waits = 0;
  for (const job of state.jobs) {
    if (active(job) || reported.has(job.id)) continue;
    reported.add(job.id);
    if (!mine.has(job.id)) continue;
    other.postMessage("jobs");
    report(job);
  }
  if (state.scan && !state.jobs.some(({ id }) => id === state.scan.job)) {
    notice("This scan is no longer on the server.", { next: "You can go on looking at it; to save or download, drop it again.", key: "gone" });
  }
  tell("jobs");
}

function report(job) {
  if (job.status === "failed") return say(`Failed: ${job.error?.detail ?? ""}`);
  if (job.status !== "done" || !job.scans.length) return;
  say(`Done: ${count(job.scans.length, "scan")}`);
  if (job.scans.length >= BATCH) openTable();
  else open(job, job.scans[0].index);
}

function show() {
  const list = byId("jobs");
  const kept = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const items = [...uploads.map(uploadItem), ...state.jobs.map(jobItem)].map(([key, sign, build]) => {
    const before = kept.get(key);
    if (before?.dataset.sign === sign) return before;
    const made = build();
    Object.assign(made.dataset, { key, sign });
    return made;
  });
  if (items.length !== list.children.length || items.some((item, place) => list.children[place] !== item)) keepFocus(list, () => list.replaceChildren(...items));
  byId("open-table").hidden = !state.jobs.some(({ scans }) => scans?.length);
  document.body.classList.toggle("empty", !items.length);
  showBusy();
}

/** A list that is drawn anew keeps the focus on the button of the same name. */
function keepFocus(list, change) {
  const held = list.contains(document.activeElement) ? document.activeElement : null;
  const item = held?.closest("li[data-key]")?.dataset.key;
  const label = held?.getAttribute("aria-label") ?? held?.textContent;
  change();
  if (!held || held.isConnected) return held?.focus();
  const again = [...list.children].find(({ dataset }) => dataset.key === item);
  [...(again?.querySelectorAll("button") ?? [])].find((button) => (button.getAttribute("aria-label") ?? button.textContent) === label)?.focus();
}

function uploadItem(upload) {
  const { id, name, share, status, problem, again } = upload;
  const seconds = status === "busy" ? Math.max(0, Math.ceil((again - Date.now()) / 1000)) : 0;
  const build = () => element("li", { class: `job ${status}` },
    element("p", { class: "job-name" }, name),
    status === "sending" && element("p", { class: "job-state" }, share < 1 ? `Sending, ${whole(share * 100)} %` : "Sent; being looked at"),
    status === "sending" && progress(share < 1 ? share : null, `Sending ${name}`),
    status === "busy" && element("p", { class: "job-state" }, `The server is busy. Trying again in ${count(seconds, "second")}.`),
    status === "failed" && complaint(problem),
    element("p", { class: "job-buttons" },
      status !== "sending" && element("button", { type: "button", class: "small", onclick: () => retry(upload) }, "Try again"),
      element("button", { type: "button", class: "quiet small", onclick: () => stop(upload) }, status === "failed" ? "Remove" : "Cancel")));
  return [id, JSON.stringify([status, Math.round(share * 100), seconds]), build];
}

function jobItem(job) {
  const here = state.scan?.job === job.id ? state.scan.summary.index : null;
  const builders = { queued: waitingItem, running: waitingItem, failed: failedItem, cancelled: failedItem, done: doneItem };
  const sign = JSON.stringify([job.status, job.progress, job.position, job.scans?.map(({ edited, tumour_voxels: voxels }) => [edited, voxels]), here]);
  return [job.id, sign, () => (builders[job.status] ?? failedItem)(job, here)];
}

function waitingItem(job) {
  const [words, share] = howFar(job);
  return element("li", { class: `job ${job.status}` },
    element("p", { class: "job-name" }, nameOfJob(job)),
    element("p", { class: "job-state" }, words),
    progress(share, words),
    element("p", { class: "job-buttons" }, element("button", { type: "button", class: "quiet small", onclick: () => remove(job) }, "Cancel")));
}

/** In words how far a job is, and its share where that is known. */
function howFar({ status, progress: { done, total, unit }, position }) {
  const before = Math.max(0, position - 1);
  if (status === "queued") return [before ? `Waiting; ${count(before, "upload")} before it` : "Waiting", null];
  return total ? [`Segmenting, ${whole(done)} of ${whole(total)} ${unit}`, done / total] : ["Reading the files", null];
}

/** The same, large, where nothing else is in sight. */
function showBusy() {
  const upload = uploads.find(({ status }) => status === "sending");
  const job = state.jobs.find(active);
  byId("busy").hidden = !upload && !job;
  byId("hello").hidden = Boolean(upload || job);
  if (!upload && !job) return;
  const [words, share] = upload ? [`Sending ${upload.name}`, upload.share < 1 ? upload.share : null] : howFar(job);
  byId("busy").firstElementChild.textContent = words;
  const bar = byId("busy").lastElementChild;
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}

function failedItem(job) {
  const problem = job.status === "cancelled" ? { detail: "Cancelled", next_step: "" } : job.error ?? { detail: "This could not be segmented" };
  const namesHelp = /--channels|sequence|channels/.test(`${problem.type ?? ""} ${problem.detail} ${problem.next_step}`);
  return element("li", { class: `job ${job.status}` },
    element("p", { class: "job-name" }, nameOfJob(job)),
    complaint(problem),
    element("p", { class: "job-buttons" },
      namesHelp && atHand(job) && element("button", { type: "button", class: "small", onclick: async () => (await resubmit(job, { ask: true })) && remove(job) }, "Name the sequences"),
      !namesHelp && atHand(job) && element("button", { type: "button", class: "small", onclick: async () => (await resubmit(job)) && remove(job) }, "Try again"),
      element("button", { type: "button", class: "quiet small", onclick: () => remove(job) }, "Remove")));
}

function doneItem(job, here) {
  const scans = job.scans ?? [];
  const shown = scans.length > SHOWN_SCANS ? scans.slice(0, SHOWN_SCANS - 1) : scans;
  return element("li", { class: "job done" },
    ...shown.map((scan) => scanButton(job, scan, here)),
    shown.length < scans.length && element("button", { type: "button", class: "quiet small", onclick: openTable }, `${count(scans.length - shown.length, "more scan")}: see the table`),
    ...(job.failures ?? []).slice(0, 3).map(({ file, reason }) => element("p", { class: "job-failure" }, file && `${file}: `, sentence(reason))),
    (job.failures?.length ?? 0) > 3 && element("p", { class: "job-failure" }, `${count(job.failures.length - 3, "more file")} could not be read.`),
    element("p", { class: "job-buttons" },
      element("button", { type: "button", class: "quiet small", onclick: (event) => results(job, event.target) }, "Results ZIP"),
      scans.length > 1 && mayBeOne(job) && element("button", { type: "button", class: "quiet small", onclick: () => resubmit(job, { ask: true }) }, "These are sequences of one"),
      element("button", { type: "button", class: "quiet small", "aria-label": `Remove ${scans[0]?.name ?? "this upload"} from the server`, onclick: () => remove(job) }, "Remove")));
}

function scanButton(job, scan, here) {
  return element("button", { type: "button", class: "scan-button", "aria-current": scan.index === here ? "true" : null, onclick: () => open(job, scan.index) },
    element("strong", {}, scan.name),
    element("small", {}, `${count(scan.shape[0], "slice")}, ${sizeOf(scan)}${scan.edited ? ", corrected" : ""}`));
}

/** How large the tumour of a scan is, in words. */
export function sizeOf(scan) {
  if (!scan.tumour_voxels) return "no tumour found";
  return scan.tumour_volume_ml === null || scan.tumour_volume_ml === undefined
    ? count(scan.tumour_voxels, "voxel")
    : `${fixed(scan.tumour_volume_ml, 1)} ml`;
}

/** Download all of a job's masks and tables. */
export async function results(job, button) {
  button.disabled = true;
  try {
    await download(`/v1/segmentations/${job.id}/results`);
  } catch (problem) {
    complain(problem, { key: "download", ...(problem.passing ? { run: () => results(job, button) } : {}) });
  } finally {
    button.disabled = false;
  }
}

async function remove(job) {
  try {
    await ask(`/v1/segmentations/${job.id}`, { method: "DELETE" });
  } catch (problem) {
    if (problem.status !== 404 && problem.status !== 410) return complain(problem, { run: () => remove(job), key: "remove" });
  }
  state.jobs = state.jobs.filter(({ id }) => id !== job.id);
  other.postMessage("jobs");
  tell("jobs");
  tell("removed");
}

function progress(share, label) {
  return element("progress", { max: 1, value: share, "aria-label": label });
}

function complaint(problem) {
  return element("p", { class: "job-state" }, element("strong", {}, sentence(problem.detail || problem.title || "It failed")), problem.next_step ? ` ${forThePage(problem.next_step)}` : "");
}

/** What the command line would be told, in the page's words. */
function forThePage(step) {
  return /--channels/.test(step) ? "Say which sequence is which." : sentence(step);
}

/** Offer the server's examples. */
export async function startExamples() {
  let examples;
  try {
    ({ examples } = await askJson("/v1/examples"));
  } catch (problem) {
    if (problem.status !== 404) complain(problem, { run: startExamples, key: "examples" });
    return;
  }
  byId("examples").replaceChildren(...(examples.length ? [element("h3", {}, "Or look at an example")] : []),
    ...examples.map(({ name, title }) => {
      const [short, ...more] = (title ?? capital(name)).split(/:\s*/);
      return element("button", { type: "button", onclick: () => submitExample(name, short) }, short, more.length > 0 && element("small", {}, more.join(": ")));
    }));
}
