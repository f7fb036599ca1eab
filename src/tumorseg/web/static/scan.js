/** One segmented scan in the browser: its arrays, the mask at any threshold, and the correction by hand. */

import { askBytes, askJson } from "./server.js";

const LEVELS = 256;
const KEPT_MASKS = 64;

/** Pixels, probabilities and masks of a scan; slices count from 0. */
export class Scan {
  /**
   * @param {string} job its id
   * @param {object} summary of the scan, as the server gives it
   * @param {{image: Uint8Array, probability: Uint8Array, mask: Uint8Array, reference: ?Uint8Array, edit: ?Uint8Array}} volumes
   */
  constructor(job, summary, { image, probability, mask, reference, edit }) {
    [this.slices, this.height, this.width] = summary.shape;
    this.job = job;
    this.summary = summary;
    this.area = this.height * this.width;
    this.image = image;
    this.channels = image.length / (this.slices * this.area);
    this.classes = summary.classes;
    [this.tumour, this.winner] = anyClass(probability, this.classes.length);
    this.answer = mask;
    this.reference = reference;
    this.edit = edit;
    this.unsaved = false;
    this.above = countAbove(this.tumour, this.slices, this.area);
    this.answerAreas = areasOf(mask, this.slices, this.area);
    this.referenceAreas = reference && areasOf(reference, this.slices, this.area);
    this.editAreas = edit && areasOf(edit, this.slices, this.area);
    this.ownThreshold = summary.threshold;
    this.threshold = summary.threshold;
    this.version = 0;
    this.cut = new Map();
  }

  /** Where this scan lies on the server. */
  get path() {
    return `/v1/segmentations/${this.job}/scans/${this.summary.index}`;
  }

  /** Whether the mask is the answer as the server gave it. */
  get asAnswered() {
    return Math.abs(this.threshold - this.ownThreshold) < 0.004;
  }

  /** The highest 8-bit probability that lies outside the mask. */
  get level() {
    return Math.floor(this.threshold * (LEVELS - 1) + 1e-9);
  }

  /** What the server must be told to give the mask that is seen. */
  get query() {
    const words = new URLSearchParams();
    if (this.edit) words.set("edited", "true");
    else if (!this.asAnswered) words.set("threshold", ((this.level + 0.5) / (LEVELS - 1)).toFixed(6));
    return words.size ? `?${words}` : "";
  }

  setThreshold(threshold) {
    this.threshold = threshold;
    this.cut.clear();
    this.version += 1;
  }

  /** The mask of a slice, (height, width): 0, or the class. */
  mask(slice) {
    const [from, to] = [slice * this.area, (slice + 1) * this.area];
    if (this.edit) return this.edit.subarray(from, to);
    if (this.asAnswered) return this.answer.subarray(from, to);
    let mask = this.cut.get(slice);
    if (!mask) {
      mask = this.#cutSlice(from, to);
      if (this.cut.size >= KEPT_MASKS) this.cut.delete(this.cut.keys().next().value);
      this.cut.set(slice, mask);
    }
    return mask;
  }

  /** The reference of a slice, where there is one. */
  referenceMask(slice) {
    return this.reference && this.reference.subarray(slice * this.area, (slice + 1) * this.area);
  }

  /** Tumour pixels of each slice. */
  get areas() {
    if (this.edit) return this.editAreas;
    if (this.asAnswered) return this.answerAreas;
    const level = this.level;
    return Uint32Array.from({ length: this.slices }, (_, slice) => this.above[slice * LEVELS + level]);
  }

  /** The slice with the largest area; the middle one where there is no tumour. */
  get largest() {
    const areas = this.areas;
    const most = Math.max(...areas);
    return most ? areas.indexOf(most) : Math.floor(this.slices / 2);
  }

  setReference(reference) {
    this.reference = reference;
    this.referenceAreas = reference && areasOf(reference, this.slices, this.area);
    this.version += 1;
  }

  /** Turn what is seen into a correction that can be painted on. */
  startEdit() {
    if (this.edit) return;
    const edit = new Uint8Array(this.slices * this.area);
    for (let slice = 0; slice < this.slices; slice += 1) edit.set(this.mask(slice), slice * this.area);
    this.edit = edit;
    this.editAreas = areasOf(edit, this.slices, this.area);
  }

  /** A slice of the correction was painted on. */
  painted(slice) {
    this.editAreas[slice] = occupied(this.edit, slice * this.area, (slice + 1) * this.area);
    this.unsaved = true;
    this.version += 1;
  }

  dropEdit() {
    this.edit = null;
    this.editAreas = null;
    this.unsaved = false;
    this.version += 1;
  }

  #cutSlice(from, to) {
    const level = this.level;
    const mask = new Uint8Array(this.area);
    for (let place = from, index = 0; place < to; place += 1, index += 1) {
      if (this.tumour[place] > level) mask[index] = this.winner ? this.winner[place] : 1;
    }
    return mask;
  }
}

/**
 * Fetch a scan with all that is drawn of it.
 *
 * @param {string} job
 * @param {number} index
 * @param {{onProgress: (share: number) => void, signal: AbortSignal}} options
 * @returns {Promise<Scan>}
 */
export async function fetchScan(job, index, { onProgress, signal }) {
  const path = `/v1/segmentations/${job}/scans/${index}`;
  const summary = await askJson(path, { signal });
  const [slices, height, width] = summary.shape;
  const voxels = slices * height * width;
  const sizes = {
    image: voxels * summary.channels.length,
    probability: voxels * (summary.classes.length > 1 ? summary.classes.length : 1),
    mask: voxels,
    ...(summary.has_reference ? { reference: voxels } : {}),
    ...(summary.edited ? { edit: voxels } : {}),
  };
  const total = Object.values(sizes).reduce((sum, size) => sum + size, 0);
  const done = {};
  const volumes = { reference: null, edit: null };
  await Promise.all(
    Object.entries(sizes).map(async ([name, size]) => {
      const report = (share) => {
        done[name] = share * size;
        onProgress(Object.values(done).reduce((sum, part) => sum + part, 0) / total);
      };
      volumes[name] = await askBytes(`${path}/volume/${name}`, { size, onProgress: report, signal });
    }),
  );
  return new Scan(job, summary, volumes);
}

/** Of several classes their sum and the most probable one, 1…K; of one class itself. */
function anyClass(probability, classes) {
  if (classes <= 1) return [probability, null];
  const voxels = probability.length / classes;
  const sum = new Uint8ClampedArray(voxels);
  const winner = new Uint8Array(voxels);
  for (let voxel = 0; voxel < voxels; voxel += 1) {
    let best = -1;
    let total = 0;
    for (let index = 0; index < classes; index += 1) {
      const value = probability[index * voxels + voxel];
      total += value;
      if (value > best) {
        best = value;
        winner[voxel] = index + 1;
      }
    }
    sum[voxel] = total;
  }
  return [new Uint8Array(sum.buffer), winner];
}

/** For each slice and level, how many pixels lie above it. */
function countAbove(tumour, slices, area) {
  const above = new Uint32Array(slices * LEVELS);
  for (let slice = 0; slice < slices; slice += 1) {
    const counts = above.subarray(slice * LEVELS, (slice + 1) * LEVELS);
    for (let place = slice * area, end = place + area; place < end; place += 1) counts[tumour[place]] += 1;
    let higher = 0;
    for (let level = LEVELS - 1; level >= 0; level -= 1) {
      const here = counts[level];
      counts[level] = higher;
      higher += here;
    }
  }
  return above;
}

function areasOf(mask, slices, area) {
  return Uint32Array.from({ length: slices }, (_, slice) => occupied(mask, slice * area, (slice + 1) * area));
}

function occupied(mask, from, to) {
  let pixels = 0;
  for (let place = from; place < to; place += 1) if (mask[place]) pixels += 1;
  return pixels;
}
