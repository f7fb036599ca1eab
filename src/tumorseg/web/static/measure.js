/** Pieces and diameters of a mask, as the server measures them, from runs of pixels along the rows. */

/**
 * @param {{slices: number, width: number, height: number, areas: Uint32Array, mask: (slice: number) => Uint8Array}} scan
 * @param {[number, number]} spacing between rows and columns
 * @returns {{components: number, diameter: number, diameterSlice: number}} 3D pieces (26-connected), and the greatest
 *   caliper width of any one area within a slice, in the unit of `spacing`
 */
export function measure(scan, spacing) {
  const { areas } = scan;
  const pieces = new Forest();
  let before = { rows: new Map(), first: 0 };
  let diameter = 0;
  let diameterSlice = 0;
  for (let slice = 0; slice < scan.slices; slice += 1) {
    if (!areas[slice]) {
      before = { rows: new Map() };
      continue;
    }
    const rows = runsOf(scan.mask(slice), scan.width, scan.height);
    const flat = new Forest();
    for (const runs of rows.values()) {
      for (const run of runs) {
        run.piece = pieces.add();
        run.flat = flat.add();
      }
    }
    for (const [y, runs] of rows) {
      joinRuns(runs, rows.get(y - 1), (one, other) => {
        flat.join(one.flat, other.flat);
        pieces.join(one.piece, other.piece);
      });
      for (let near = y - 1; near <= y + 1; near += 1) {
        joinRuns(runs, before.rows.get(near), (one, other) => pieces.join(one.piece, other.piece));
      }
    }
    const widest = widestArea(rows, flat, spacing);
    if (widest > diameter) [diameter, diameterSlice] = [widest, slice];
    before = { rows };
  }
  return { components: pieces.count, diameter, diameterSlice };
}

/** Runs of tumour pixels by their row; `from` and `to` are the first and last column. */
function runsOf(mask, width, height) {
  const rows = new Map();
  for (let y = 0; y < height; y += 1) {
    const runs = [];
    for (let x = 0, place = y * width; x < width; x += 1, place += 1) {
      if (!mask[place]) continue;
      const from = x;
      while (x + 1 < width && mask[place + 1]) {
        x += 1;
        place += 1;
      }
      runs.push({ from, to: x, piece: 0, flat: 0 });
    }
    if (runs.length) rows.set(y, runs);
  }
  return rows;
}

function joinRuns(runs, others, join) {
  if (!others) return;
  for (const run of runs) {
    for (const other of others) {
      if (other.from > run.to + 1) break;
      if (other.to >= run.from - 1) join(run, other);
    }
  }
}

function widestArea(rows, flat, [rowStep, columnStep]) {
  const areas = new Map();
  for (const [y, runs] of rows) {
    for (const run of runs) {
      const root = flat.root(run.flat);
      if (!areas.has(root)) areas.set(root, []);
      // From pixel edge to pixel edge: the middles of the outer edges of the row's first and last pixel.
      for (const [x, dx, dy] of [[run.from, -0.5, 0], [run.to, 0.5, 0], [run.from, 0, -0.5], [run.from, 0, 0.5], [run.to, 0, -0.5], [run.to, 0, 0.5]]) {
        areas.get(root).push([(x + dx) * columnStep, (y + dy) * rowStep]);
      }
    }
  }
  let widest = 0;
  for (const points of areas.values()) {
    const hull = convexHull(points);
    for (const [x, y] of hull) for (const [otherX, otherY] of hull) widest = Math.max(widest, (x - otherX) ** 2 + (y - otherY) ** 2);
  }
  return Math.sqrt(widest);
}

/** Andrew's monotone chain. */
function convexHull(points) {
  const sorted = points.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  const half = (ordered) => {
    const chain = [];
    for (const point of ordered) {
      while (chain.length > 1 && turn(chain.at(-2), chain.at(-1), point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain;
  };
  return [...half(sorted), ...half(sorted.toReversed())];
}

const turn = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);

/** Disjoint sets. */
class Forest {
  parents = [];
  count = 0;

  add() {
    this.count += 1;
    return this.parents.push(this.parents.length) - 1;
  }

  root(node) {
    while (this.parents[node] !== node) {
      this.parents[node] = this.parents[this.parents[node]];
      node = this.parents[node];
    }
    return node;
  }

  join(one, other) {
    const [a, b] = [this.root(one), this.root(other)];
    if (a === b) return;
    this.parents[b] = a;
    this.count -= 1;
  }
}

/** Dice and IoU of the mask that is seen with the reference, any tumour; null where neither marks anything. */
export function overlap(scan) {
  let [both, mine, theirs] = [0, 0, 0];
  const { areas } = scan;
  for (let slice = 0; slice < scan.slices; slice += 1) {
    mine += areas[slice];
    theirs += scan.referenceAreas[slice];
    if (!areas[slice] || !scan.referenceAreas[slice]) continue;
    const mask = scan.mask(slice);
    const reference = scan.referenceMask(slice);
    for (let place = 0; place < mask.length; place += 1) if (mask[place] && reference[place]) both += 1;
  }
  return mine + theirs ? { dice: (2 * both) / (mine + theirs), iou: both / (mine + theirs - both) } : null;
}
