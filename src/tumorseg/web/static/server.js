/** Requests to the server: the token, problems as errors, uploads with progress. */

import { askForToken } from "./token.js";

const TOKEN = "tumorseg-token";

/** What the server (or the network) refused, as RFC 9457 says it. */
export class Problem extends Error {
  constructor({ status = 0, title = "", detail = "", next_step = "", retryAfter = null, ...rest }) {
    super(detail || title);
    Object.assign(this, { status, title, detail, next_step, retryAfter, rest });
  }

  /** Whether the same request can succeed later. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 502;
  }
}

const OFFLINE = {
  detail: "The server cannot be reached",
  next_step: "Check that tumorseg serve still runs and that you are connected.",
};

const GONE = {
  detail: "This scan is no longer on the server; uploads are removed after some idle minutes",
  next_step: "Drop it again.",
};

function headers(more = {}) {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}`, ...more } : more;
}

async function asProblem(path, response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    body = { detail: `The server answered ${response.status}` };
  }
  return problemOf(path, response.status, body, response.headers.get("Retry-After"));
}

function problemOf(path, status, body, retryAfter) {
  const gone = (status === 404 || status === 410) && path.startsWith("/v1/segmentations/");
  const said = gone ? { ...body, ...GONE } : body;
  return new Problem({ ...said, status, detail: said.detail || said.title, retryAfter: Number(retryAfter) || null });
}

/**
 * Ask the server.
 *
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>} a good answer
 * @throws {Problem}
 */
export async function ask(path, options = {}) {
  for (;;) {
    let response;
    try {
      response = await fetch(path, { credentials: "same-origin", ...options, headers: headers(options.headers) });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(OFFLINE);
    }
    if (response.ok) return response;
    if (response.status !== 401) throw await asProblem(path, response);
    await newToken();
  }
}

/** As `ask`, the answer read as JSON. */
export async function askJson(path, options) {
  return (await ask(path, options)).json();
}

async function newToken() {
  const refused = sessionStorage.getItem(TOKEN) !== null;
  const token = await askForToken(refused);
  if (token === null) {
    throw new Problem({ status: 401, detail: "This server asks for a token", next_step: "Ask whoever runs it." });
  }
  sessionStorage.setItem(TOKEN, token);
}

/**
 * Bytes of a volume, with progress.
 *
 * @param {string} path
 * @param {{size: number, onProgress?: (share: number) => void, signal?: AbortSignal}} options `size` in bytes, unpacked
 * @returns {Promise<Uint8Array>}
 */
export async function askBytes(path, { size, onProgress, signal }) {
  const response = await ask(path, { signal });
  const whole = new Uint8Array(size);
  const reader = response.body.getReader();
  let filled = 0;
  for (;;) {
    let step;
    try {
      step = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(OFFLINE);
    }
    if (step.done) break;
    if (filled + step.value.length > size) throw new Problem({ detail: "The server sent more than the scan holds" });
    whole.set(step.value, filled);
    filled += step.value.length;
    onProgress?.(filled / size);
  }
  if (filled !== size) throw new Problem(OFFLINE);
  return whole;
}

/**
 * Send a form, with progress and a way to stop.
 *
 * @param {string} path
 * @param {FormData} form
 * @param {{onProgress?: (share: number) => void, signal?: AbortSignal, method?: string}} [options]
 * @returns {Promise<object>} the answer's JSON
 * @throws {Problem}
 */
export async function send(path, form, options = {}) {
  for (;;) {
    const [status, body, retryAfter] = await transfer(path, form, options);
    if (status >= 200 && status < 300) return body;
    if (status !== 401) throw problemOf(path, status, body, retryAfter);
    await newToken();
  }
}

function transfer(path, form, { onProgress, signal, method = "POST" }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, path);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
    request.onload = () => {
      let body = {};
      try {
        body = JSON.parse(request.responseText);
      } catch {
        body = { detail: `The server answered ${request.status}` };
      }
      resolve([request.status, body, request.getResponseHeader("Retry-After")]);
    };
    request.onerror = () => reject(new Problem(OFFLINE));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    if (signal?.aborted) return request.onabort();
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** Fetch a file and hand it to the browser's downloads. */
export async function download(path) {
  const response = await ask(path);
  const name = /filename="?([^";]+)"?/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? "download";
  saveAs(await response.blob(), name);
  return name;
}

/** Hand a blob to the browser's downloads. */
export function saveAs(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
