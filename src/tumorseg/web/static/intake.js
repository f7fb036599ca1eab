/** Files that are dropped, picked or pasted, with the paths that they had in their folder. */

import { byId } from "./element.js";

const LEFT_OUT = /(^|\/)(\.|__MACOSX\/|Thumbs\.db$|desktop\.ini$)/;
const MASK = /_mask\.(nii\.gz|[a-z0-9]+)$/i;

/**
 * @typedef {{file: File, path: string}} Chosen
 */

/**
 * Begin to listen for files.
 *
 * @param {(chosen: Chosen[]) => void} take
 */
export function startIntake(take) {
  const given = (list) => {
    const chosen = [...list].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
    if (chosen.length) take(keepScans(chosen));
  };
  for (const [button, input] of [["pick-files", "files"], ["pick-folder", "folder"]]) {
    byId(button).addEventListener("click", () => byId(input).click());
    byId(input).addEventListener("change", (event) => {
      given(event.target.files);
      event.target.value = "";
    });
  }
  listenForDrops(take);
  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) given(event.clipboardData.files);
  });
}

/** What belongs to the scans, and the masks that lie among them. */
export function parts(chosen) {
  const masks = chosen.filter(({ path }) => MASK.test(path));
  const scans = chosen.filter(({ path }) => !MASK.test(path));
  // Masks alone are what somebody wants to see outlined; the server says what it thinks of them.
  return scans.length ? { scans, masks } : { scans: chosen, masks: [] };
}

function keepScans(chosen) {
  const kept = chosen.filter(({ path }) => !LEFT_OUT.test(path));
  return kept.length ? kept : chosen;
}

function listenForDrops(take) {
  const veil = byId("veil");
  let inside = 0;
  const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files") && !byId("dialog").open;
  addEventListener("dragenter", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    inside += 1;
    veil.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!holdsFiles(event)) return;
    inside = Math.max(0, inside - 1);
    veil.hidden = inside === 0;
  });
  addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    inside = 0;
    veil.hidden = true;
    // Entries must be asked for before the first pause: the drop forgets them.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile()).filter(Boolean);
    const chosen = (await Promise.all(entries.map((entry) => walk(entry, "")))).flat();
    if (chosen.length) take(keepScans(chosen));
  });
}

/** All files below an entry, by their paths. */
async function walk(entry, folder) {
  if (entry instanceof File) return [{ file: entry, path: entry.name }];
  const path = folder + entry.name;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, path }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader gives a hundred at a time, and nothing when it is through.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map((one) => walk(one, `${path}/`)))).flat();
}
