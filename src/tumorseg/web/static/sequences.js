/** Which file, folder or channel is which sequence, where it is not obvious. */

import { openDialog } from "./dialogs.js";
import { element } from "./element.js";
import { sequence } from "./words.js";

const SIGNS = [
  ["flair", /(^|[^a-z])(t2[-_ ]?)?flair([^a-z]|$)/i],
  ["post", /(^|[^a-z])(t1[-_ ]?(ce|c|gd|km|post)|post|gad?o?|contrast)([^a-z]|$)/i],
  ["pre", /(^|[^a-z])(t1[nw]?|pre|native?)([^a-z]|$)/i],
];
const VOLUME = /\.(nii|nii\.gz|npy|mat)$/i;
const DICOM = /(\.dcm|\.ima|(^|\/)[^./]+)$/i;

/** What a name says of its sequence; "" where it says nothing. */
export function guess(path) {
  const name = path.split("/").pop();
  return SIGNS.find(([, sign]) => sign.test(name))?.[0] ?? "";
}

/**
 * Files, or folders of DICOM files, that may be the sequences of one scan.
 *
 * @param {string[]} paths
 * @returns {string[]} two to eight of them; none where there is nothing to ask
 */
export function candidates(paths) {
  const volumes = paths.filter((path) => VOLUME.test(path));
  if (volumes.length === paths.length && volumes.length > 1 && volumes.length <= 8) return volumes;
  if (paths.length > 1 && paths.every((path) => DICOM.test(path) && path.includes("/"))) {
    const folders = [...new Set(paths.map((path) => path.slice(0, path.lastIndexOf("/"))))];
    if (folders.length > 1 && folders.length <= 8) return folders;
  }
  return [];
}

/** Whether names alone tell that several sequences of one scan lie there. */
export function looksLikeSequences(found) {
  const guesses = found.map(guess).filter(Boolean);
  return guesses.length > 1 && new Set(guesses).size === guesses.length;
}

/**
 * Ask which is which.
 *
 * @param {object} options
 * @param {string[]} options.wanted the model's channels
 * @param {string[]} [options.found] files and folders to choose among
 * @param {number} [options.channels] of a file whose channels have no names; takes the place of `found`
 * @param {boolean} [options.separate] whether they may be scans of their own
 * @returns {Promise<string[]|"separate"|null>} `name=value` each
 */
export function askForSequences({ wanted, found = [], channels = 0, separate = false }) {
  const names = [...new Set([...wanted, "flair"])];
  const choices = channels ? Array.from({ length: channels }, (_, index) => [String(index), `Channel ${index + 1}`]) : found.map((path) => [path, path]);
  const free = !choices.length;
  const start = (name, index) => (channels ? (channels === names.length ? String(index) : "") : found.find((path) => guess(path) === name) ?? "");
  const fields = names.map((name, index) => {
    const field = free
      ? element("input", { name, placeholder: `*_${name}.nii.gz` })
      : element("select", { name }, new Option("none", ""), ...choices.map(([value, words]) => new Option(words, value)));
    field.value = free ? "" : start(name, index);
    field.id = `sequence-${name}`;
    return element("div", { class: "stack" }, element("label", { for: field.id }, sequence(name)), field);
  });
  return openDialog("Which sequence is which?", (close) => {
    const complaint = element("p", { class: "complaint", role: "alert" });
    const submit = (event) => {
      event.preventDefault();
      const chosen = names.map((name) => [name, event.target.elements[name].value.trim()]).filter(([, value]) => value);
      const values = chosen.map(([, value]) => value);
      if (new Set(values).size !== values.length) complaint.textContent = "One is chosen twice.";
      else if (!chosen.some(([name]) => name === "flair") && wanted.some((name) => !chosen.some(([one]) => one === name))) {
        complaint.textContent = "Choose FLAIR; it takes the place of what is missing.";
      } else close(chosen.map(([name, value]) => `${name}=${value}`));
    };
    return [
      element("form", { class: "rows", onsubmit: submit },
        element("p", {}, free
          ? "Say what the files’ names look like, with one * for what differs from scan to scan, or the number of the channel, counted from 0."
          : "The model looks at these. FLAIR takes the place of one that is missing."),
        ...fields,
        complaint,
        element("p", { class: "dialog-buttons" },
          separate && element("button", { type: "button", onclick: () => close("separate") }, "They are separate scans"),
          element("button", { class: "main" }, "Segment"))),
    ];
  });
}
