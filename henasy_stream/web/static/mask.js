// Soft masks on the model's coarse grid: enlarged by cubics, tinted, and their outline where the probability is one half.

const ENLARGED = 112, HALF = 127.5;

/** {canvas, path}: a tinted picture of the mask in mask coordinates, and its outline in source pixels. */
export function prepareMask(levels, width, height, affine, colour) {
  const factor = Math.max(1, Math.min(8, Math.round(ENLARGED / Math.max(width, height))));
  const big = enlarge(levels, width, height, factor);
  return {
    canvas: tint(big, width * factor, height * factor, colour),
    path: outline(big, width * factor, height * factor, factor, affine),
  };
}

/** Cubic interpolation as OpenCV's INTER_CUBIC: a = -0.75, edges replicated. */
export function enlarge(levels, width, height, factor) {
  if (factor === 1) return Float32Array.from(levels);
  const taps = [...Array(factor).keys()].map((k) => {
    const at = (k + 0.5) / factor - 0.5, base = Math.floor(at), t = at - base, a = -0.75;
    const near = (d) => ((a + 2) * d - (a + 3)) * d * d + 1;
    const far = (d) => ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    return { base, weights: [far(1 + t), near(t), near(1 - t), far(2 - t)] };
  });
  const wide = new Float32Array(width * factor * height);
  stretch(levels, wide, height, width, width, 1, width * factor, 1, taps, factor);
  const big = new Float32Array(width * factor * height * factor);
  stretch(wide, big, width * factor, height, 1, width * factor, 1, width * factor, taps, factor);
  for (let i = 0; i < big.length; i++) big[i] = Math.min(255, Math.max(0, big[i]));
  return big;
}

function stretch(from, to, lines, length, lineFrom, stepFrom, lineTo, stepTo, taps, factor) {
  for (let line = 0; line < lines; line++) {
    for (let i = 0; i < length; i++) {
      for (let k = 0; k < factor; k++) {
        const { base, weights } = taps[k];
        let sum = 0;
        for (let j = 0; j < 4; j++) {
          const at = Math.min(length - 1, Math.max(0, i + base - 1 + j));
          sum += weights[j] * from[line * lineFrom + at * stepFrom];
        }
        to[line * lineTo + (i * factor + k) * stepTo] = sum;
      }
    }
  }
}

/** Opacity rises smoothly from 0.3 to 0.7 of the probability, as in the annotated video. */
function tint(big, width, height, colour) {
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  const image = context.createImageData(width, height), data = image.data;
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  for (let i = 0; i < big.length; i++) {
    const x = Math.min(1, Math.max(0, (big[i] / 255 - 0.3) / 0.4));
    data[4 * i] = r;
    data[4 * i + 1] = g;
    data[4 * i + 2] = b;
    data[4 * i + 3] = Math.round(255 * x * x * (3 - 2 * x));
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// Marching squares: which sides of a cell the outline joins, by which corners (top left, top right, bottom right,
// bottom left: bits 1, 2, 4, 8) are inside.  Sides: 0 top, 1 right, 2 bottom, 3 left.
const SIDES = [[], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [[3, 0], [1, 2]], [[0, 2]], [[3, 2]],
  [[2, 3]], [[0, 2]], [[0, 1], [2, 3]], [[1, 2]], [[1, 3]], [[0, 1]], [[0, 3]], []];

function outline(big, width, height, factor, affine) {
  const [[a, b, c], [d, e, f]] = affine, path = new Path2D();
  const value = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : big[y * width + x]);
  const clamp = (v, top) => Math.min(top, Math.max(0, v));
  const point = (side, x, y, corners) => {
    const [p, q] = [[0, 1], [1, 2], [3, 2], [0, 3]][side].map((i) => corners[i]);
    const t = (HALF - p) / (q - p);
    const [px, py] = [[x + t, y], [x + 1, y + t], [x + t, y + 1], [x, y + t]][side];
    const u = clamp((px + 0.5) / factor, width / factor), v = clamp((py + 0.5) / factor, height / factor);
    return [a * u + b * v + c, d * u + e * v + f];
  };
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const corners = [value(x, y), value(x + 1, y), value(x + 1, y + 1), value(x, y + 1)];
      const code = corners.reduce((sum, level, i) => sum + (level > HALF ? 1 << i : 0), 0);
      for (const [from, to] of SIDES[code]) {
        path.moveTo(...point(from, x, y, corners));
        path.lineTo(...point(to, x, y, corners));
      }
    }
  }
  return path;
}
