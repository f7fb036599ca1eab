/** Markdown of model cards as elements: headings, paragraphs, lists, tables, code. Markup in it stays text. */

import { element } from "./element.js";

/**
 * @param {string} text
 * @returns {Node[]}
 */
export function markdown(text) {
  const lines = text.replace(/^---\n[\s\S]*?\n---\n/, "").split(/\r?\n/);
  const made = [];
  let at = 0;
  const while_ = (pattern) => {
    const from = at;
    while (at < lines.length && pattern.test(lines[at])) at += 1;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at];
    const heading = /^(#{1,6})\s+(.*)$/.exec(line);
    if (/^\s*$/.test(line)) at += 1;
    else if (heading) {
      // The dialog's own title is the second level.
      made.push(element(`h${Math.min(6, heading[1].length + 2)}`, {}, ...inline(heading[2])));
      at += 1;
    } else if (/^(```|~~~)/.test(line)) {
      at += 1;
      const code = while_(/^(?!(```|~~~))/);
      at += 1;
      made.push(element("pre", {}, code.join("\n")));
    } else if (/^\s*\|/.test(line)) made.push(table(while_(/^\s*\|/)));
    else if (/^\s*([-*+]|\d+\.)\s+/.test(line)) made.push(list(while_(/^\s*([-*+]|\d+\.)\s+|^\s{2,}\S/)));
    else if (/^\s*>/.test(line)) made.push(element("blockquote", {}, ...markdown(while_(/^\s*>/).map((row) => row.replace(/^\s*> ?/, "")).join("\n"))));
    else made.push(element("p", {}, ...inline(while_(/^(?!\s*$|#{1,6}\s|```|~~~|\s*\||\s*[-*+]\s)/).join(" ") || lines[at++])));
  }
  return made;
}

function list(lines) {
  const ordered = /^\s*\d+\./.test(lines[0]);
  const items = [];
  for (const line of lines) {
    const item = /^\s*(?:[-*+]|\d+\.)\s+(.*)$/.exec(line);
    if (item) items.push(item[1]);
    else items[items.length - 1] += ` ${line.trim()}`;
  }
  return element(ordered ? "ol" : "ul", {}, ...items.map((item) => element("li", {}, ...inline(item))));
}

function table(lines) {
  const rows = lines.map((line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replace(/\\\|/g, "|")));
  const ruled = rows[1]?.every((cell) => /^:?-+:?$/.test(cell));
  const cells = (row, tag) => element("tr", {}, ...row.map((cell) => element(tag, tag === "th" ? { scope: "col" } : {}, ...inline(cell))));
  return element("div", { class: "scroll", tabindex: 0 }, element("table", {},
    ruled && rows[0].some(Boolean) && element("thead", {}, cells(rows[0], "th")),
    element("tbody", {}, ...rows.slice(ruled ? 2 : 0).map((row) => cells(row, "td")))));
}

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]+)\]\(([^)\s]+)\)|<(https?:\/\/[^>\s]+)>/g;

function inline(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    if (found.index > from) parts.push(text.slice(from, found.index));
    const [whole, code, strong, stressed, words, address, bare] = found;
    if (code !== undefined) parts.push(element("code", {}, code));
    else if (strong !== undefined) parts.push(element("strong", {}, ...inline(strong)));
    else if (stressed !== undefined) parts.push(element("em", {}, ...inline(stressed)));
    else parts.push(link(words ?? bare, address ?? bare));
    from = found.index + whole.length;
  }
  if (from < text.length) parts.push(text.slice(from));
  return parts;
}

/** Only addresses of the web are followed; others are read. */
function link(words, address) {
  if (!/^https?:\/\//.test(address)) return words;
  return element("a", { href: address, rel: "noreferrer noopener", target: "_blank" }, words);
}
