// What lies over the video: masks, boxes, labels, who touches what.  Same marks as in the annotated video.

import { prepareMask } from "./mask.js";

const MASK = 0.5, LOST = 0.4, LOST_SHOWN_NS = 2e9;
const DARK = "rgb(20 20 20)";

/** Draws onto `context`, whose canvas is `scale` device pixels a source pixel.  `chosen`: id of a track, or null. */
export function drawOverlay(context, frame, result, scale, chosen) {
  const { canvas } = context;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!result) return;
  const ratio = window.devicePixelRatio || 1;
  const line = Math.max(1.2 * ratio, Math.min(canvas.width, canvas.height) / 420);
  const tracks = result.tracks.filter((t) => t.state !== "removed" && !longLost(t, frame.stamp_ns));
  const age = Math.max(0, frame.stamp_ns - result.window_end_ns) / 1e9;
  const strength = 1 - 0.4 * Math.min(age, 1);
  const weight = (id) => (chosen === null || chosen === id ? 1 : 0.3);
  dimOutside(context, frame, result.visible, scale, ratio);
  drawMasks(context, result, tracks, scale, strength, line, weight);
  for (const track of tracks) drawBox(context, track, result.colours[track.id], scale, line, weight(track.id));
  const meant = tracks.filter((t) => weight(t.id) === 1);
  drawRings(context, result, meant, scale, line);
  drawLinks(context, result, tracks, scale, line, weight);
  drawLabels(context, result, meant, scale, ratio);
}

function longLost(track, now) {
  return track.state === "lost" && now - track.last_seen_ns > LOST_SHOWN_NS;
}

function dimOutside(context, frame, polygon, scale, ratio) {
  if (!polygon) return;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  const path = new Path2D();
  path.rect(0, 0, frame.width, frame.height);
  polygon.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
  path.closePath();
  context.fillStyle = "rgb(0 0 0 / .5)";
  context.fill(path, "evenodd");
  const edge = new Path2D();
  polygon.forEach(([x, y], i) => (i ? edge.lineTo(x, y) : edge.moveTo(x, y)));
  edge.closePath();
  context.strokeStyle = "rgb(170 170 170 / .8)";
  context.lineWidth = ratio / scale;
  context.stroke(edge);
}

function drawMasks(context, result, tracks, scale, strength, line, weight) {
  if (!result.masks) return;
  const { width, height, affine } = result.masks, [[a, b, c], [d, e, f]] = affine;
  result.prepared ??= new Map();
  for (const track of tracks) {
    const row = track.mask_index === null ? -1 : track.mask_index - 1;
    if (row < 0 || row >= result.masks.count) continue;
    if (!result.prepared.has(row)) {
      const levels = result.levels.subarray(row * width * height, (row + 1) * width * height);
      result.prepared.set(row, prepareMask(levels, width, height, affine, result.colours[track.id]));
    }
    const mask = result.prepared.get(row);
    const opacity = strength * (track.state === "lost" ? LOST : 1) * weight(track.id);
    context.setTransform(a * scale, d * scale, b * scale, e * scale, c * scale, f * scale);
    context.globalAlpha = MASK * opacity;
    context.drawImage(mask.canvas, 0, 0, width, height);
    context.globalAlpha = opacity;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.strokeStyle = lighter(result.colours[track.id], 0.45);
    context.lineWidth = line / scale;
    context.lineCap = "round";
    context.stroke(mask.path);
    context.globalAlpha = 1;
  }
}

function drawBox(context, track, colour, scale, line, opacity) {
  const [x0, y0, x1, y1] = track.box_xyxy.map((v) => v * scale);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalAlpha = opacity;
  context.lineJoin = "round";
  const twice = (path, width, ink) => {
    context.strokeStyle = DARK;
    context.lineWidth = width + line;
    context.stroke(path);
    context.strokeStyle = ink;
    context.lineWidth = width;
    context.stroke(path);
  };
  if (track.state === "lost") {
    context.setLineDash([5 * line, 5 * line]);
    context.strokeStyle = lighter(colour, 0.3);
    context.lineWidth = line;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.setLineDash([]);
  } else {
    if (track.query !== null) {
      const whole = new Path2D();
      whole.rect(x0, y0, x1 - x0, y1 - y0);
      twice(whole, line, lighter(colour, 0.35));
    }
    const reach = 0.22 * Math.min(x1 - x0, y1 - y0), corners = new Path2D();
    for (const [x, sx] of [[x0, 1], [x1, -1]]) {
      for (const [y, sy] of [[y0, 1], [y1, -1]]) {
        corners.moveTo(x, y + sy * reach);
        corners.lineTo(x, y);
        corners.lineTo(x + sx * reach, y);
      }
    }
    twice(corners, 1.6 * line, colour);
  }
  context.globalAlpha = 1;
}

/** An ellipse around what acts, the thicker the more it has to do with the action that is asked for. */
function drawRings(context, result, tracks, scale, line) {
  const weights = new Map();
  for (const answer of result.queries) {
    if (answer.kind !== "action") continue;
    answer.track_ids.forEach((id, i) => weights.set(id, Math.max(answer.track_scores[i], weights.get(id) ?? 0)));
  }
  for (const track of tracks) {
    if (!weights.has(track.id) || track.state === "lost") continue;
    const [x0, y0, x1, y1] = track.box_xyxy.map((v) => v * scale);
    const thick = line * (1 + Math.min(weights.get(track.id), 1));
    for (const [ink, width] of [[DARK, thick + 2.4 * line], ["#fff", thick + 1.2 * line], [result.colours[track.id], thick]]) {
      context.beginPath();
      context.ellipse((x0 + x1) / 2, (y0 + y1) / 2, 0.55 * (x1 - x0) + line, 0.55 * (y1 - y0) + line, 0, 0, 7);
      context.strokeStyle = ink;
      context.lineWidth = width;
      context.stroke();
    }
  }
}

function drawLinks(context, result, tracks, scale, line, weight) {
  const boxes = new Map(tracks.map((t) => [t.id, t.box_xyxy.map((v) => v * scale)]));
  for (const relation of result.relations) {
    const subject = boxes.get(relation.subject_id), object = boxes.get(relation.object_id);
    if (!subject || !object) continue;
    if (Math.max(weight(relation.subject_id), weight(relation.object_id)) < 1) continue;
    const end = [(object[0] + object[2]) / 2, (object[1] + object[3]) / 2];
    const inset = [0, 1].map((i) => 0.25 * (subject[i + 2] - subject[i]));
    const start = end.map((v, i) => Math.min(subject[i + 2] - inset[i], Math.max(subject[i] + inset[i], v)));
    for (const [ink, width] of [[DARK, 2.4 * line], ["#fff", 1.2 * line]]) {
      context.beginPath();
      context.moveTo(...start);
      context.lineTo(...end);
      context.strokeStyle = ink;
      context.lineWidth = width;
      context.stroke();
    }
    for (const [at, radius, id] of [[start, 2 * line, relation.subject_id], [end, 3 * line, relation.object_id]]) {
      for (const [ink, r] of [[DARK, radius + line], [result.colours[id], radius]]) {
        context.beginPath();
        context.arc(...at, r, 0, 7);
        context.fillStyle = ink;
        context.fill();
      }
    }
  }
}

function drawLabels(context, result, tracks, scale, ratio) {
  const { width, height } = context.canvas;
  const size = Math.min(17 * ratio, Math.max(11 * ratio, 0.026 * Math.min(width, height))), taken = [];
  const order = [...tracks].sort((p, q) => (p.state === "lost") - (q.state === "lost") || p.box_xyxy[1] - q.box_xyxy[1]);
  for (const track of order) {
    const name = `${track.query ?? track.label} · ${track.id}`, glass = track.query === null ? 0 : 1.15 * size;
    const detail = track.state === "lost" ? "lost" : `${Math.round(100 * track.label_score)}%`;
    context.font = `650 ${size}px Inter, sans-serif`;
    const text = fit(context, name, 0.5 * width), nameWidth = context.measureText(text).width;
    context.font = `400 ${0.82 * size}px Inter, sans-serif`;
    const detailWidth = context.measureText(detail).width;
    const w = glass + nameWidth + detailWidth + 1.4 * size, h = 1.55 * size;
    const x = Math.min(Math.max(0, track.box_xyxy[0] * scale), Math.max(0, width - w));
    const above = track.box_xyxy[1] * scale - h - 2 * ratio;
    const y = freePlace(x, above >= 0 ? above : track.box_xyxy[1] * scale + 3 * ratio, w, h, taken, height - h);
    taken.push([x, y, x + w, y + h]);
    context.globalAlpha = track.state === "lost" ? 0.7 : 0.94;
    context.fillStyle = result.colours[track.id];
    context.beginPath();
    context.roundRect(x, y, w, h, 0.4 * size);
    context.fill();
    if (track.query !== null) {
      context.strokeStyle = "#fff";
      context.lineWidth = ratio;
      context.stroke();
      magnifier(context, x + 0.5 * size, y + h / 2, size);
    }
    context.fillStyle = "#101012";
    context.textBaseline = "middle";
    context.font = `650 ${size}px Inter, sans-serif`;
    context.fillText(text, x + 0.5 * size + glass, y + 0.53 * h);
    context.font = `400 ${0.82 * size}px Inter, sans-serif`;
    context.fillText(detail, x + 0.9 * size + glass + nameWidth, y + 0.55 * h);
    context.globalAlpha = 1;
  }
}

function magnifier(context, x, middle, size) {
  const radius = 0.3 * size, at = [x + radius + 0.06 * size, middle - 0.1 * size], joint = radius * Math.SQRT1_2;
  context.strokeStyle = "#101012";
  context.lineWidth = 0.14 * size;
  context.beginPath();
  context.arc(...at, radius, 0, 7);
  context.moveTo(at[0] + joint, at[1] + joint);
  context.lineTo(at[0] + joint + 0.26 * size, at[1] + joint + 0.26 * size);
  context.stroke();
}

function freePlace(x, y, w, h, taken, lowest) {
  const start = Math.min(Math.max(0, y), Math.max(0, lowest));
  for (const shift of [0, 1, -1, 2, -2, 3, -3, 4]) {
    const at = start + shift * (h + 2);
    const free = !taken.some(([l, t, r, b]) => x < r && x + w > l && at < b && at + h > t);
    if (at >= 0 && at <= lowest && free) return at;
  }
  return start;
}

/** The text, shortened by an ellipsis to a width. */
export function fit(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let end = text.length;
  while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > width) end--;
  return end > 1 ? `${text.slice(0, end).trimEnd()}…` : "";
}

export function lighter(colour, amount) {
  const mixed = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16)).map((v) => Math.round(v + (255 - v) * amount));
  return `rgb(${mixed.join(" ")})`;
}
