/** Files of the open scan, as it is seen: at this threshold, or as corrected. */

import { save } from "./correction.js";
import { byId, element } from "./element.js";
import { complain, notice } from "./notices.js";
import { download } from "./server.js";
import { on, state } from "./state.js";
import { fixed } from "./words.js";

const KINDS = {
  mask: ["Mask", "in the scan’s own format"],
  nifti: ["NIfTI mask", ".nii.gz"],
  "dicom-seg": ["DICOM-SEG", "refers to the DICOM images"],
  overlay: ["Overlay", "slices with the outline drawn on them"],
  contours: ["Contours", "JSON, in pixels and millimetres"],
  report: ["Report", "PDF for reading and printing"],
  training: ["Training ZIP", "images and masks for tumorseg train"],
};

/** Begin to follow the state. */
export function startDownloads() {
  on("scan mask saved", show);
}

function show() {
  const { scan } = state;
  if (!scan) return;
  const which = scan.edit ? "The mask as corrected by hand." : `The mask at threshold ${fixed(scan.threshold, 2)}.`;
  const box = byId("downloads");
  if (box.dataset.scan !== scan.path) {
    box.dataset.scan = scan.path;
    box.replaceChildren(element("p", { class: "note" }), ...scan.summary.downloads.map((kind) => {
      const [name, more] = KINDS[kind] ?? [kind, ""];
      return element("button", { type: "button", class: "file", "data-kind": kind, onclick: (event) => fetchFile(kind, event.currentTarget) },
        element("strong", {}, name), element("small", {}, more));
    }));
  }
  box.firstElementChild.textContent = which;
}

async function fetchFile(kind, button) {
  const { scan } = state;
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    if (!(await save())) return;
    const name = await download(`${scan.path}/files/${kind}${scan.query}`);
    notice(`${name} is downloaded`, { kind: "done", key: "download" });
  } catch (problem) {
    complain(problem, { key: "download", ...(problem.passing ? { run: () => fetchFile(kind, button) } : {}) });
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}
