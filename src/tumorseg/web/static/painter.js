/** Draws a slice: the image through its window, a map over it, areas and outlines. */

import { CLASSES, ENTROPY, LINES, MAPS, UNSEEN } from "./colours.js";
import { outline } from "./outline.js";

const KEPT_PATHS = 200;

/** Draws slices of one scan; outlines are kept for as long as their mask stays. */
export class Painter {
  constructor(scan) {
    this.scan = scan;
    this.paths = new Map();
    this.version = scan.version;
    this.pixels = new ImageData(scan.width, scan.height);
    this.pixels.data.fill(255);
    this.frame = document.createElement("canvas");
    this.frame.width = scan.width;
    this.frame.height = scan.height;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} slice
   * @param {object} view see `state.view`
   * @param {{x: number, y: number, across: number, down: number, thin?: number}} place the left upper corner and the
   *   length of a pixel's sides, in the context's units; `thin` scales the lines
   */
  paint(context, slice, view, { x, y, across, down, thin = 1 }) {
    const { scan } = this;
    this.#window(slice, view);
    this.frame.getContext("2d").putImageData(this.pixels, 0, 0);
    context.imageSmoothingEnabled = across < 7;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.frame, x, y, scan.width * across, scan.height * down);
    const inFrame = new DOMMatrix([across, 0, 0, down, x, y]);
    const shown = (path) => {
      const moved = new Path2D();
      moved.addPath(path, inFrame);
      return moved;
    };
    const classes = scan.classes.length > 1 ? scan.classes.map((_, index) => index + 1) : [0];
    const predicted = classes.map((value) => [this.colour(value), shown(this.#path(slice, value))]);
    if (view.fill) {
      context.globalAlpha = view.opacity / 140;
      for (const [colour, path] of predicted) {
        context.fillStyle = colour;
        context.fill(path, "evenodd");
      }
      context.globalAlpha = 1;
    }
    if (!view.outline) return;
    if (scan.reference) stroke(context, shown(this.#referencePath(slice)), LINES.reference, thin, []);
    for (const [colour, path] of predicted) stroke(context, path, colour, thin, scan.reference ? [7 * thin, 5 * thin] : []);
  }

  /** Of a class's outline; 0 is the only class. */
  colour(value) {
    if (value) return CLASSES[(value - 1) % CLASSES.length];
    return this.scan.edit ? LINES.edited : LINES.predicted;
  }

  #path(slice, value) {
    return this.#kept(`${slice}/${value}`, () => outline(this.scan.mask(slice), this.scan.width, this.scan.height, value));
  }

  #referencePath(slice) {
    return this.#kept(`${slice}/reference`, () => outline(this.scan.referenceMask(slice), this.scan.width, this.scan.height));
  }

  #kept(key, draw) {
    if (this.version !== this.scan.version) {
      this.paths.clear();
      this.version = this.scan.version;
    }
    if (!this.paths.has(key)) {
      if (this.paths.size >= KEPT_PATHS) this.paths.delete(this.paths.keys().next().value);
      this.paths.set(key, draw());
    }
    return this.paths.get(key);
  }

  #window(slice, { channel, map, opacity, brightness, contrast }) {
    const { scan, pixels } = this;
    const grey = windowed(brightness, contrast);
    const target = pixels.data;
    const step = scan.channels;
    let place = slice * scan.area * step + channel;
    const colours = MAPS[map];
    if (!colours) {
      for (let out = 0; out < target.length; out += 4, place += step) target[out] = target[out + 1] = target[out + 2] = grey[scan.image[place]];
      return;
    }
    const share = opacity / 100;
    for (let out = 0, voxel = slice * scan.area; out < target.length; out += 4, place += step, voxel += 1) {
      const base = grey[scan.image[place]];
      const value = map === "uncertainty" ? ENTROPY[scan.tumour[voxel]] : scan.tumour[voxel];
      const weight = value < UNSEEN ? 0 : share;
      for (let part = 0; part < 3; part += 1) target[out + part] = base + (colours[value * 3 + part] - base) * weight;
    }
  }
}

function windowed(brightness, contrast) {
  return Uint8ClampedArray.from({ length: 256 }, (_, value) => (value - 128) * (contrast / 100) + 128 + brightness);
}

function stroke(context, path, colour, thin, dashes) {
  context.lineJoin = "round";
  // The dark casing keeps lines apart from bright tissue; it has the same gaps, so that what lies below shows.
  context.setLineDash(dashes);
  context.strokeStyle = "rgba(0, 0, 0, 0.55)";
  context.lineWidth = 3.4 * thin;
  context.stroke(path);
  context.strokeStyle = colour;
  context.lineWidth = 1.8 * thin;
  context.stroke(path);
  context.setLineDash([]);
}
