// How the node fares: latencies and rates over two minutes.

import { $, element, sized, theme } from "./dom.js";

const SECONDS = 120;

export class Charts {
  constructor() {
    this.samples = [];
  }

  begin(samples) {
    this.samples = samples.slice(-2 * SECONDS);
    this.draw();
  }

  add(sample) {
    this.samples.push(sample);
    if (this.samples.length > 2 * SECONDS) this.samples.shift();
    this.draw();
  }

  draw() {
    const ink = theme();
    const rest = (s) => sum(Object.entries(s.stage_ms).filter(([k]) => k !== "network" && k !== "read").map(([, v]) => v));
    const latency = [
      { name: "network", colour: ink.accent, of: (s) => s.stage_ms.network ?? null },
      { name: "rest", colour: ink.good, dash: [5, 3], of: rest },
      { name: "age", colour: ink.warn, of: (s) => s.age_ms },
    ];
    const rates = [
      { name: "in", colour: ink.ink3, of: (s) => s.in_fps },
      { name: "used", colour: ink.accent, of: (s) => s.used_fps },
      { name: "results", colour: ink.good, dash: [5, 3], of: (s) => s.hops },
      { name: "dropped", colour: ink.bad, of: (s) => s.dropped },
    ];
    for (const [id, lines] of [["latency", latency], ["rate", rates]]) {
      this.plot($(id), lines, ink);
      $(`${id}-key`).replaceChildren(...lines.map((line) => key(line, this.last(line))));
      $(id).setAttribute("aria-label", lines.map((line) => `${line.name} ${figure(this.last(line))}`).join(", "));
    }
  }

  /** The newest figure there is, of the last five seconds: a slow model has no result in most of them. */
  last(line) {
    return this.samples.slice(-5).map(line.of).findLast((v) => v !== null && v !== undefined) ?? null;
  }

  plot(canvas, lines, ink) {
    const { context: c, width, height } = sized(canvas);
    const now = this.samples.at(-1)?.unix_ms ?? 0, recent = this.samples.filter((s) => now - s.unix_ms < SECONDS * 1000);
    const top = nice(Math.max(1, ...recent.flatMap((s) => lines.map((line) => line.of(s) ?? 0))));
    const left = 34, x = (s) => left + (1 - (now - s.unix_ms) / (SECONDS * 1000)) * (width - left);
    const y = (v) => height - 5 - (v / top) * (height - 12);
    c.font = "400 12px Inter, sans-serif";
    c.textAlign = "right";
    c.textBaseline = "middle";
    for (const v of [0, top / 2, top]) {
      c.fillStyle = ink.line;
      c.fillRect(left, Math.round(y(v)), width - left, 1);
      c.fillStyle = ink.ink3;
      if (v !== top / 2 || height > 60) c.fillText(figure(v), left - 6, y(v));
    }
    c.lineWidth = 1.6;
    c.lineJoin = "round";
    for (const line of lines) {
      c.strokeStyle = line.colour;
      c.setLineDash(line.dash ?? []);
      c.beginPath();
      let before = null;
      for (const s of recent) {
        const v = line.of(s);
        if (v === null || v === undefined) continue;
        // A pause of more than three seconds is a gap, not a line.
        if (before === null || s.unix_ms - before > 3000) c.moveTo(x(s), y(v));
        else c.lineTo(x(s), y(v));
        before = s.unix_ms;
      }
      c.stroke();
      c.setLineDash([]);
    }
  }
}

function key(line, value) {
  const mark = element("i");
  mark.style.background = line.colour;
  return element("li", {}, mark, line.name, element("b", {}, figure(value)));
}

const sum = (values) => values.reduce((total, v) => total + v, 0);

function figure(value) {
  if (value === null || value === undefined) return "–";
  return value >= 9.95 ? String(Math.round(value)) : String(Number(value.toFixed(1)));
}

function nice(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 5, 10].map((k) => k * unit).find((v) => v >= value);
}
