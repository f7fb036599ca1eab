/** All scans of the session as a table that can be sorted, for many at once. */

import { byId, element } from "./element.js";
import { results } from "./jobs.js";
import { saveAs } from "./server.js";
import { on, state } from "./state.js";
import { count, fixed, whole } from "./words.js";

const COLUMNS = [
  { key: "name", title: "Scan", text: (row) => row.name },
  { key: "slices", title: "Slices", number: true, text: (row) => whole(row.slices) },
  { key: "volume", title: "Volume, ml", number: true, text: (row) => (row.volume === null ? "–" : fixed(row.volume, 1)) },
  { key: "voxels", title: "Voxels", number: true, text: (row) => whole(row.voxels) },
  { key: "largest", title: "Largest in slice", number: true, text: (row) => (row.voxels ? whole(row.largest) : "–") },
  { key: "warnings", title: "Warnings", text: (row) => row.warnings },
  { key: "model", title: "Model", text: (row) => row.model },
];

let sorted = { key: "", down: false };
let open = () => {};

/** Begin to follow the jobs. */
export function startTable(openScan) {
  open = openScan;
  on("jobs", () => { if (!byId("table").hidden) showTable(); });
}

/** Draw it. */
export function showTable() {
  const rows = rowsOf(state.jobs);
  const page = byId("table");
  const done = state.jobs.filter(({ scans }) => scans?.length);
  page.replaceChildren(
    element("div", { class: "table-head" },
      element("h2", { id: "table-title" }, count(rows.length, "scan")),
      element("button", { type: "button", onclick: () => saveAs(new Blob([csv(rows)], { type: "text/csv" }), "scans.csv"), disabled: !rows.length }, "Table as CSV"),
      element("button", { type: "button", disabled: !done.length, onclick: async ({ target }) => { for (const job of done) await results(job, target); } },
        done.length > 1 ? `Results, ${whole(done.length)} ZIPs` : "Results ZIP")),
    rows.length
      ? element("div", { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": "table-title" }, element("table", {},
        element("thead", {}, element("tr", {}, ...COLUMNS.map(heading))),
        element("tbody", {}, ...rows.map(tableRow))))
      : element("p", {}, "No scan is segmented yet."),
    ...failures(state.jobs),
  );
}

function rowsOf(jobs) {
  const rows = jobs.flatMap((job) => (job.scans ?? []).map((scan) => ({
    job,
    index: scan.index,
    name: scan.name,
    edited: scan.edited,
    slices: scan.shape[0],
    volume: scan.tumour_volume_ml ?? null,
    voxels: scan.tumour_voxels,
    largest: scan.largest_slice === null || scan.largest_slice === undefined ? 0 : scan.largest_slice + 1,
    warnings: (scan.warnings ?? []).map(({ text }) => text).join("; "),
    model: job.model,
  })));
  if (!sorted.key) return rows;
  const compare = new Intl.Collator("en-GB", { numeric: true }).compare;
  rows.sort((one, other) => {
    const [a, b] = [one[sorted.key], other[sorted.key]];
    return typeof a === "number" || typeof b === "number" ? (a ?? -1) - (b ?? -1) : compare(a ?? "", b ?? "");
  });
  return sorted.down ? rows.reverse() : rows;
}

function heading({ key, title, number }) {
  const here = sorted.key === key;
  const sort = () => {
    sorted = { key, down: here ? !sorted.down : Boolean(number) };
    showTable();
    [...byId("table").querySelectorAll("th button")].find((button) => button.dataset.key === key)?.focus();
  };
  return element("th", { scope: "col", class: number ? "number" : null, "aria-sort": here ? (sorted.down ? "descending" : "ascending") : "none" },
    element("button", { type: "button", class: "sort", "data-key": key, onclick: sort }, title, element("span", { "aria-hidden": "true" }, here ? (sorted.down ? " ↓" : " ↑") : "")));
}

function tableRow(row) {
  return element("tr", {}, ...COLUMNS.map(({ key, number, text }) => key === "name"
    ? element("th", { scope: "row" }, element("button", { type: "button", class: "link", onclick: () => open(row.job, row.index) }, text(row)),
      row.edited && element("small", {}, " corrected; the numbers are the model’s"))
    : element("td", { class: number ? "number" : "words", title: number ? null : text(row) }, text(row))));
}

function failures(jobs) {
  const all = jobs.flatMap((job) => job.failures ?? []);
  if (!all.length) return [];
  return [element("h3", {}, `${count(all.length, "file")} could not be read`),
    element("ul", {}, ...all.map(({ file, reason }) => element("li", {}, `${file ? `${file}: ` : ""}${reason}`)))];
}

function csv(rows) {
  // A cell that begins like a formula is text all the same.
  const cell = (value) => {
    const text = String(value ?? "");
    return `"${(/^[=+\-@\t\r]/.test(text) && typeof value === "string" ? `'${text}` : text).replaceAll('"', '""')}"`;
  };
  const keys = COLUMNS.map(({ key }) => key);
  return [COLUMNS.map(({ title }) => cell(title)), ...rows.map((row) => keys.map((key) => cell(row[key])))].map((line) => line.join(",")).join("\r\n");
}
