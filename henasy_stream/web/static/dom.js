// Small helpers around the document.

export const $ = (id) => document.getElementById(id);

/** An element with properties, data attributes and children. */
export function element(name, { data = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

export function svg(name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

export const percent = (score) => `${Math.round(100 * score)}%`;

/** A round dot of a track's colour. */
export function dot(colour) {
  const made = element("i");
  made.style.background = colour;
  return made;
}

/** A 2D context whose canvas has as many pixels as the screen gives it, in units of CSS pixels. */
export function sized(canvas) {
  const ratio = window.devicePixelRatio || 1, { width, height } = canvas.getBoundingClientRect();
  const w = Math.max(1, Math.round(width * ratio)), h = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

let inks = null;
/** The theme's colours by name; read once for each theme. */
export function theme() {
  if (!inks) {
    const style = getComputedStyle(document.documentElement);
    const names = ["bg", "panel", "raised", "line", "ink", "ink2", "ink3", "accent", "good", "warn", "bad"];
    inks = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }
  return inks;
}

export function setTheme(name) {
  document.documentElement.dataset.theme = name;
  inks = null;
}

/** "4 s", "3 min 20 s" of a time in nanoseconds. */
export function span(ns) {
  const s = Math.max(0, Math.round(ns / 1e9));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  return m < 60 ? `${m} min ${s % 60} s` : `${Math.floor(m / 60)} h ${m % 60} min`;
}
