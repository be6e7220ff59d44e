// Actions and identities over time, on one axis that ends now.

import { $, sized, theme } from "./dom.js";
import { fit } from "./overlay.js";

const LENGTHS_S = [15, 30, 60, 120, 300, 600], GAP_NS = 2e9, KEPT_NS = 610e9, KEPT = 500;

export class Timeline {
  constructor() {
    this.length = 2;
    this.clear();
  }

  clear() {
    this.actions = [];
    this.open = null;
    this.seen = new Map();
    this.newest = null;
  }

  /** What happened before this page came. */
  begin(greeting) {
    this.clear();
    this.actions = greeting.actions.filter((a) => a.final);
    this.open = greeting.actions.find((a) => !a.final) ?? null;
    for (const { spans, ...track } of greeting.seen) this.seen.set(track.id, { ...track, spans: spans.map((s) => [...s]) });
  }

  add(result) {
    const now = result.stamp_ns;
    if (this.newest !== null && now < this.newest - GAP_NS) this.clear();
    this.newest = now;
    this.actions.push(...result.closed);
    this.open = result.caption;
    for (const t of result.tracks) {
      if (t.state !== "new" && t.state !== "tracked") continue;
      const known = this.seen.get(t.id) ?? { id: t.id, spans: [] };
      Object.assign(known, { label: t.label, query: t.query, colour: result.colours[t.id] });
      this.seen.set(t.id, known);
      const last = known.spans.at(-1);
      if (last && now - last[1] <= GAP_NS) last[1] = Math.max(last[1], now);
      else known.spans.push([now, now]);
    }
    this.forget(now - KEPT_NS);
  }

  forget(before) {
    while (this.actions.length > KEPT || (this.actions.length && this.actions[0].end_ns < before)) this.actions.shift();
    for (const [id, t] of this.seen) {
      if (t.spans.at(-1)[1] < before || this.seen.size > KEPT) this.seen.delete(id);
      else if (t.spans.length > KEPT) t.spans.shift();
    }
  }

  zoom(by) {
    this.length = Math.min(LENGTHS_S.length - 1, Math.max(0, this.length + by));
    const s = LENGTHS_S[this.length];
    $("length").textContent = s < 120 ? `${s} s` : `${s / 60} min`;
  }

  draw(now, chosen) {
    const { context: c, width, height } = sized($("timeline")), ink = theme();
    const gutter = Math.min(150, Math.max(92, 0.12 * width)), top = 24, lane = 30;
    const length = LENGTHS_S[this.length] * 1e9, start = now - length;
    const x = (ns) => gutter + ((Math.min(now, Math.max(start, ns)) - start) / length) * (width - gutter);
    c.textBaseline = "middle";
    this.drawAxis(c, ink, gutter, width, height);
    c.font = "500 14px Inter, sans-serif";
    c.fillStyle = ink.ink2;
    c.fillText("Action", 0, top + lane / 2);
    const actions = this.open ? [...this.actions, this.open] : this.actions;
    for (const action of actions) {
      if (action.end_ns < start || action.start_ns > now) continue;
      const isOpen = action === this.open;
      const left = x(action.start_ns), right = isOpen ? x(now) : x(action.end_ns);
      c.fillStyle = isOpen ? ink.accent : ink.line;
      c.beginPath();
      c.roundRect(left + 0.5, top + 1, Math.max(2, right - left - 1.5), lane - 3, 4);
      c.fill();
      c.fillStyle = isOpen ? ink.panel : ink.ink;
      c.font = `${isOpen ? 600 : 450} 13.5px Inter, sans-serif`;
      c.fillText(shortened(c, action.text, right - left - 12), left + 6, top + lane / 2);
    }
    this.drawSeen(c, ink, { now, start, x, gutter, top: top + lane + 3, bottom: height, chosen });
  }

  drawAxis(c, ink, gutter, width, height) {
    const s = LENGTHS_S[this.length], narrow = width < 600, parts = narrow ? 2 : 4;
    c.font = "400 12.5px Inter, sans-serif";
    for (let i = 0; i <= parts; i++) {
      const at = gutter + (i / parts) * (width - gutter), ago = s - (i / parts) * s;
      c.fillStyle = ink.line;
      c.fillRect(Math.min(Math.round(at), width - 1), 20, 1, height - 20);
      c.fillStyle = ink.ink3;
      if (i === parts) break; // the buttons stand there
      const text = ago >= 120 ? `${+(ago / 60).toFixed(1)} min` : `${+ago.toFixed(1)} s`;
      const tight = narrow && i > 0; // left of its line, where the buttons leave room
      c.textAlign = i === 0 ? "left" : tight ? "right" : "center";
      c.fillText(tight ? text : `${text} ago`, tight ? at - 5 : at, 9);
    }
    c.textAlign = "left";
  }

  drawSeen(c, ink, { now, start, x, gutter, top, bottom, chosen }) {
    const room = bottom - top;
    const seen = [...this.seen.values()].filter((t) => t.spans.at(-1)[1] >= start && t.spans[0][0] <= now);
    // Whoever is here comes first, by id, so that rows stay where they are.
    const here = (t) => now - t.spans.at(-1)[1] <= GAP_NS;
    seen.sort((p, q) => here(q) - here(p) || (here(p) ? p.id - q.id : q.spans.at(-1)[1] - p.spans.at(-1)[1]));
    const row = Math.min(24, Math.max(17, room / Math.max(1, seen.length)));
    const rows = Math.max(1, Math.floor(room / row)), hidden = seen.length > rows ? seen.length - rows + 1 : 0;
    seen.slice(0, seen.length - hidden).forEach((t, i) => {
      const y = top + i * row, faded = chosen !== null && chosen !== t.id;
      c.globalAlpha = faded ? 0.35 : 1;
      c.font = `${here(t) ? 500 : 400} 14px Inter, sans-serif`;
      c.fillStyle = here(t) ? ink.ink : ink.ink3;
      c.fillText(fit(c, `${t.query ?? t.label} · ${t.id}`, gutter - 10), 0, y + row / 2);
      c.fillStyle = t.colour;
      for (const [from, to] of t.spans) {
        if (to < start || from > now) continue;
        const left = x(from), right = x(to === t.spans.at(-1)[1] && here(t) ? now : to);
        c.beginPath();
        c.roundRect(left, y + row / 2 - 4.5, Math.max(3, right - left), 9, 3);
        c.fill();
      }
      c.globalAlpha = 1;
    });
    if (!hidden) return;
    c.fillStyle = ink.ink3;
    c.fillText(`and ${hidden} more`, 0, top + (rows - 0.5) * row);
  }
}

/** The whole text, or as many of its first words as there is room for. */
function shortened(context, text, width) {
  const words = text.split(" ");
  while (words.length && context.measureText(words.join(" ")).width > width) words.pop();
  return words.join(" ").replace(/ (the|a|an)$/, "");
}
