/** Outlines of a mask along its pixels' edges, corners cut at the middle of each edge. */

/**
 * @param {Uint8Array} mask (height, width); rows after each other
 * @param {number} width in pixels
 * @param {number} height in pixels
 * @param {number} [value] the class to outline; 0 outlines all together
 * @returns {Path2D} closed loops in pixels from the frame's upper left corner; fill it by the even-odd rule
 */
export function outline(mask, width, height, value = 0) {
  const path = new Path2D();
  const inside = value ? (place) => mask[place] === value : (place) => mask[place] !== 0;
  const next = edges(inside, width, height);
  for (const start of next.keys()) {
    let from = start;
    let first = true;
    while (next.has(from)) {
      const ends = next.get(from);
      const to = ends.pop();
      if (!ends.length) next.delete(from);
      const [x, y] = middle(from, to, width + 1);
      if (first) path.moveTo(x, y);
      else path.lineTo(x, y);
      first = false;
      from = to;
    }
    if (!first) path.closePath();
  }
  return path;
}

/** Edges between inside and outside, from corner to corner, the inside on the right hand. */
function edges(inside, width, height) {
  const next = new Map();
  const corners = width + 1;
  const add = (from, to) => {
    const ends = next.get(from);
    if (ends) ends.push(to);
    else next.set(from, [to]);
  };
  for (let y = 0, place = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, place += 1) {
      if (!inside(place)) continue;
      const corner = y * corners + x;
      if (y === 0 || !inside(place - width)) add(corner, corner + 1);
      if (x === width - 1 || !inside(place + 1)) add(corner + 1, corner + corners + 1);
      if (y === height - 1 || !inside(place + width)) add(corner + corners + 1, corner + corners);
      if (x === 0 || !inside(place - 1)) add(corner + corners, corner);
    }
  }
  return next;
}

function middle(from, to, corners) {
  const [fromX, toX] = [from % corners, to % corners];
  return [(fromX + toX) / 2, ((from - fromX) / corners + (to - toX) / corners) / 2];
}
