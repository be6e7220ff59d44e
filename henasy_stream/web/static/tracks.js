// The list of entities: thumbnail, name, how long it is there, how sure.

import { $, element, percent, span } from "./dom.js";

const THUMB = 108, RENEWED_MS = 1500, FIRST_NS = 0.5e9;

export class Tracks {
  constructor(choose) {
    this.choose = choose;
    this.rows = new Map();
  }

  clear() {
    this.rows.forEach((row) => row.item.remove());
    this.rows.clear();
  }

  update(frame, bitmap, result, chosen, now) {
    const tracks = result ? result.tracks.filter((t) => t.state !== "removed") : [];
    const order = [...tracks].sort((p, q) => (p.state === "lost") - (q.state === "lost") || p.id - q.id);
    const alive = new Set(order.map((t) => t.id));
    for (const [id, row] of this.rows) {
      if (alive.has(id)) continue;
      row.item.remove();
      this.rows.delete(id);
    }
    order.forEach((track, place) => {
      const row = this.rows.get(track.id) ?? this.make(track.id, result.colours[track.id]);
      if ($("tracks").children[place] !== row.item) $("tracks").insertBefore(row.item, $("tracks").children[place] ?? null);
      this.fill(row, track, frame, chosen);
      // Best is the very frame of the result; where this page missed that one, a first picture may be a little later.
      const late = frame.stamp_ns - result.stamp_ns, mayBe = row.pictured === -Infinity ? FIRST_NS : 0;
      if (track.state !== "lost" && late <= mayBe && now - row.pictured > RENEWED_MS) {
        row.pictured = now;
        picture(row.thumb, bitmap, frame, track.box_xyxy);
      }
    });
    const seen = order.filter((t) => t.state !== "lost").length;
    $("count").textContent = order.length ? `${seen} seen${order.length > seen ? `, ${order.length - seen} lost` : ""}` : "";
  }

  make(id, colour) {
    const thumb = element("canvas", { width: THUMB, height: THUMB }), bar = element("span", { className: "bar" });
    bar.style.background = colour;
    const who = element("div", { className: "who" }), how = element("div", { className: "how" });
    const score = element("div", { className: "score" });
    const button = element("button", { type: "button" }, bar, thumb, element("div", {}, who, how), score);
    button.onclick = () => this.choose(id);
    const row = { item: element("li", {}, button), button, thumb, who, how, score, pictured: -Infinity, text: "" };
    this.rows.set(id, row);
    return row;
  }

  fill(row, track, frame, chosen) {
    row.button.setAttribute("aria-pressed", String(chosen === track.id));
    const lost = track.state === "lost";
    const other = track.hypotheses.find((h) => h.label !== track.label && h.score >= 0.05);
    const how = lost
      ? `lost ${span(frame.stamp_ns - track.last_seen_ns)} ago`
      : `${span(frame.stamp_ns - track.first_seen_ns)}${other ? `, or ${other.label} ${percent(other.score)}` : ""}`;
    const score = lost ? "" : percent(track.label_score);
    const text = `${track.label}|${how}|${score}`;
    if (text === row.text) return;
    row.text = text;
    row.item.dataset.state = track.state;
    row.who.replaceChildren(track.query ?? track.label, element("small", {}, `· ${track.id}`));
    row.how.textContent = how;
    row.score.textContent = score;
  }
}

/** A square cut out of the frame around a box. */
function picture(canvas, bitmap, frame, box) {
  const scale = bitmap.width / frame.width, [x0, y0, x1, y1] = box.map((v) => v * scale);
  const side = Math.min(Math.max(x1 - x0, y1 - y0, 16) * 1.1, bitmap.width, bitmap.height);
  const place = (middle, size) => Math.min(Math.max(0, middle - side / 2), size - side);
  const x = place((x0 + x1) / 2, bitmap.width), y = place((y0 + y1) / 2, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, x, y, side, side, 0, 0, THUMB, THUMB);
}
