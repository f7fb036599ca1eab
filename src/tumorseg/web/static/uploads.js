/** What is on its way to the server: progress, cancel, and another try. */

import { parts } from "./intake.js";
import { notice } from "./notices.js";
import { modelNamed } from "./models.js";
import { askForSequences, candidates, looksLikeSequences } from "./sequences.js";
import { send } from "./server.js";
import { state, tell } from "./state.js";
import { bytes, count, whole } from "./words.js";

/** Uploads that have not become jobs, and what each job was sent with, for as long as the page lives. */
export const uploads = [];
const sent = new Map();

let becameJob = () => {};
let last = 0;

/** @param {(job: object) => void} listener hears of every job that the server took on */
export function onJob(listener) {
  becameJob = listener;
}

/** Send files, once it is clear which sequence is which. */
export async function submit(chosen) {
  const { scans, masks } = parts(chosen);
  const refused = tooMuch(chosen);
  if (refused) return notice(refused.text, { next: refused.next, key: "limits" });
  const found = candidates(scans.map(({ path }) => path));
  const wanted = modelNamed(state.model)?.channels ?? ["pre", "flair", "post"];
  let channels = [];
  if (wanted.length > 1 && looksLikeSequences(found)) {
    const answer = await askForSequences({ wanted, found, separate: true });
    if (answer === null) return;
    if (answer !== "separate") channels = answer;
  }
  start({ scans, masks, channels, model: state.model });
}

/** Send an example of the server's own. */
export function submitExample(name, title) {
  start({ example: name, title, scans: [], masks: [], channels: [], model: state.model });
}

/** What the person who sent a job calls it; another tab only knows how much it is. */
export const nameOfJob = (job) => sent.get(job.id)?.name ?? (job.scans?.length ? job.scans[0].name : count(job.files, "file"));

/** Whether the files of a job are still at hand. */
export const atHand = (job) => sent.has(job.id);

/** Whether the scans of a job may be the sequences of one. */
export const mayBeOne = (job) => sent.has(job.id) && candidates(sent.get(job.id).scans.map(({ path }) => path)).length > 1;

/** Send the files of a job again, with the sequences named. */
export async function resubmit(job, { ask = false } = {}) {
  const before = sent.get(job.id);
  if (!before) return false;
  let { channels } = before;
  if (ask) {
    const text = `${job.error?.detail ?? ""} ${job.error?.next_step ?? ""}`;
    const unnamed = Number(job.error?.channels_found ?? /(\d+) (?:unnamed )?channels/.exec(text)?.[1] ?? 0);
    const wanted = modelNamed(before.model)?.channels ?? ["pre", "flair", "post"];
    const answer = await askForSequences({ wanted, found: candidates(before.scans.map(({ path }) => path)), channels: unnamed });
    if (answer === null) return false;
    channels = answer;
  }
  start({ ...before, channels });
  return true;
}

/** Stop an upload and forget it. */
export function stop(upload) {
  upload.controller.abort();
  clearTimeout(upload.timer);
  uploads.splice(uploads.indexOf(upload), 1);
  tell("jobs");
}

/** Try an upload that failed once more. */
export function retry(upload) {
  clearTimeout(upload.timer);
  run(upload);
}

function start(content) {
  last += 1;
  content.name = content.title ?? nameOf(content.scans);
  const upload = { id: `upload-${last}`, content, name: content.name, share: 0, status: "sending", problem: null };
  uploads.unshift(upload);
  run(upload);
}

async function run(upload) {
  const { content } = upload;
  Object.assign(upload, { status: "sending", share: 0, problem: null, controller: new AbortController() });
  tell("jobs");
  try {
    const job = await post(upload);
    sent.set(job.id, content);
    if (uploads.includes(upload)) uploads.splice(uploads.indexOf(upload), 1);
    becameJob(job);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    Object.assign(upload, { status: "failed", problem });
    if (problem.status === 429) {
      const seconds = problem.retryAfter ?? 5;
      upload.status = "busy";
      upload.again = Date.now() + seconds * 1000;
      upload.timer = setTimeout(() => run(upload), seconds * 1000);
    }
  }
  tell("jobs");
}

function post(upload) {
  const { content, controller } = upload;
  if (content.example) return send(`/v1/examples/${encodeURIComponent(content.example)}`, new FormData(), { signal: controller.signal });
  const form = new FormData();
  form.append("model", content.model);
  const { channels } = content;
  if (channels.length) form.append("channels", channels.map((word) => word.replace(/=(.*)/, (_, value) => `=${sentAs(value, content.scans)}`)).join(" "));
  for (const { file, path } of content.scans) form.append("file", file, channels.length ? plainPath(path, channels) : path);
  for (const { file, path } of content.masks) form.append("reference", file, path);
  const onProgress = (share) => {
    upload.share = share;
    tell("jobs");
  };
  return send("/v1/segmentations", form, { onProgress, signal: controller.signal });
}

/** The words that name sequences are parted by blanks: a chosen file is sent under a name without any, alone in its folder. */
const plainName = (path) => path.replace(/[\s=]+/g, "_").replaceAll("/", "__");

/** What a chosen file, folder, channel or pattern is called in the form. */
function sentAs(value, scans) {
  if (scans.some(({ path }) => path === value)) return plainName(value);
  if (scans.some(({ path }) => path.startsWith(`${value}/`))) return plainName(value).replaceAll(".", "_");
  return value.replace(/\s+/g, "");
}

function plainPath(path, channels) {
  const chosen = channels.map((word) => word.slice(word.indexOf("=") + 1));
  if (chosen.includes(path)) return plainName(path);
  const folder = path.slice(0, path.lastIndexOf("/"));
  return chosen.includes(folder) ? `${plainName(folder).replaceAll(".", "_")}/${path.slice(folder.length + 1)}` : path;
}

function nameOf(scans) {
  if (scans.length === 1) return scans[0].file.name;
  const folder = scans[0].path.includes("/") ? scans[0].path.split("/")[0] : "";
  return folder || count(scans.length, "file");
}

function tooMuch(chosen) {
  const { limits } = state;
  if (!limits) return null;
  const size = chosen.reduce((sum, { file }) => sum + file.size, 0);
  if (limits.max_files && chosen.length > limits.max_files) {
    return { text: `These are ${count(chosen.length, "file")}, and this server takes ${whole(limits.max_files)} at a time.`, next: "Send them in parts, or as a ZIP." };
  }
  if (limits.max_upload_bytes && size > limits.max_upload_bytes) {
    return { text: `These are ${bytes(size)}, and this server takes ${bytes(limits.max_upload_bytes)} at a time.`, next: "Send them in parts." };
  }
  return null;
}
