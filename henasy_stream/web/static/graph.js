// Who touches what: on the left those who do, on the right what they touch, others at rest.

import { $, span, svg } from "./dom.js";

const ROW = 32, RADIUS = 7, TOP = 8;
const ruler = new OffscreenCanvas(1, 1).getContext("2d");
let told = "";

export function drawGraph(frame, result) {
  const board = $("graph"), { width, height } = board.getBoundingClientRect();
  const seen = result ? result.tracks.filter((t) => t.state !== "removed" && t.state !== "lost") : [];
  const relations = result ? result.relations : [];
  const since = relations.map((r) => span(frame.stamp_ns - r.start_ns));
  const key = JSON.stringify([seen.map((t) => [t.id, t.label]), relations.map((r) => [r.subject_id, r.object_id]), since, width, height]);
  if (key === told) return;
  told = key;
  const subjects = new Set(relations.map((r) => r.subject_id));
  const isDoer = (t) => subjects.has(t.id) || t.label === "hand";
  const touched = new Set(relations.flatMap((r) => [r.subject_id, r.object_id]));
  const names = new Map(seen.map((t) => [t.id, t.query ?? t.label]));
  const title = (id) => `${names.get(id).length > 13 ? `${names.get(id).slice(0, 12)}…` : names.get(id)} · ${id}`;
  ruler.font = "400 15px Inter, sans-serif";
  const columns = [seen.filter(isDoer), seen.filter((t) => !isDoer(t))];
  columns.forEach((c) => c.sort((p, q) => touched.has(q.id) - touched.has(p.id) || p.id - q.id));
  const row = Math.max(20, Math.min(ROW, (height - TOP) / Math.max(1, columns[0].length, columns[1].length)));
  const place = new Map();
  const xs = [RADIUS + 2, Math.max(150, 0.6 * width)];
  columns.forEach((column, side) => column.forEach((t, i) => place.set(t.id, [xs[side], TOP + (i + 0.5) * row])));
  const parts = [];
  relations.forEach((r, i) => {
    const from = place.get(r.subject_id), to = place.get(r.object_id);
    if (!from || !to) return;
    const start = from[0] + RADIUS + 15 + ruler.measureText(title(r.subject_id)).width, end = to[0] - RADIUS - 6;
    const bend = (end - start) / 2;
    parts.push(svg("path", { class: "edge", d: `M${start} ${from[1]}C${start + bend} ${from[1]} ${end - bend} ${to[1]} ${end} ${to[1]}`, "stroke-width": 1 + 2 * r.score }));
    parts.push(svg("text", { class: "word", x: (start + end) / 2, y: (from[1] + to[1]) / 2 - 6 }, since[i]));
  });
  for (const t of seen) {
    const [x, y] = place.get(t.id) ?? [0, 0];
    if (y > height) continue;
    parts.push(svg("circle", { cx: x, cy: y, r: RADIUS, fill: result.colours[t.id] }));
    parts.push(svg("text", { x: x + RADIUS + 7, y: y + 5, class: touched.has(t.id) ? "" : "idle" }, title(t.id)));
  }
  if (!seen.length) parts.push(svg("text", { x: 0, y: 18, class: "nothing" }, "Nothing is seen"));
  board.replaceChildren(...parts);
  const sentences = relations.map((r, i) => `${names.get(r.subject_id)} ${r.predicate} ${names.get(r.object_id)} for ${since[i]}`);
  board.setAttribute("aria-label", sentences.length ? sentences.join("; ") : "Nothing is touched");
}
