// Puts the page together: what comes goes to its part, what is pressed does its thing.

import { showCaption } from "./caption.js";
import { Charts } from "./charts.js";
import { $, setTheme, sized, span } from "./dom.js";
import { drawGraph } from "./graph.js";
import { onKeys } from "./keys.js";
import { Link } from "./link.js";
import { drawOverlay } from "./overlay.js";
import { Player } from "./player.js";
import { Queries } from "./queries.js";
import { Saver } from "./save.js";
import { Timeline } from "./timeline.js";
import { Tracks } from "./tracks.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)"), bright = matchMedia("(prefers-color-scheme: light)");
const narrow = matchMedia("(max-width: 720px)");

let notice = null, session = null, chosen = null, overlayOn = true, current = null, timelineDue = 0, detailsDue = 0;

const timeline = new Timeline(), charts = new Charts();
const tracks = new Tracks((id) => choose(chosen === id ? null : id));
const player = new Player((frame, bitmap, result) => {
  current = { frame, bitmap, result };
  paint();
});
const link = new Link({ message, up, down, locked });
const queries = new Queries(link), saver = new Saver(link);
link.want({ size: narrow.matches ? "small" : "full" });

function message(head, bytes) {
  const now = performance.now();
  if (head.t === "frame") player.addFrame(head, bytes, now);
  else if (head.t === "result") {
    head.levels = bytes;
    player.addResult(head, now);
    timeline.add(head);
    notice = head.notice;
  } else if (head.t === "state") showState(head);
  else if (head.t === "greeting") greet(head);
  else if (head.t === "reply") queries.reply(head);
}

function greet(greeting) {
  if (session !== greeting.session) {
    session = greeting.session;
    pause(false);
    player.clear();
    tracks.clear();
    choose(null);
  }
  $("source").textContent = greeting.source;
  $("model").textContent = greeting.model + (greeting.synthetic ? ", knows a synthetic world only" : "");
  queries.enable(greeting.queries || !greeting.model);
  const namesNothing = greeting.model && !greeting.capabilities.includes("entities");
  $("no-tracks").textContent = namesNothing ? "These weights have no entities of their own" : "Nothing is seen yet";
  saver.offer(greeting.downloads);
  timeline.begin(greeting);
  charts.begin(greeting.samples);
}

function up() {
  document.body.dataset.link = "up";
  if ($("door").open) $("door").close();
  status("good", "Connected");
  flag("");
}

function down(reason) {
  document.body.dataset.link = "lost";
  status("bad", "Connection lost");
  flag(`Connection lost${reason ? `: ${reason}` : ""}; trying again`);
}

function locked(refused) {
  document.body.dataset.link = "locked";
  status("warn", "Token needed");
  $("door-error").textContent = refused ? "That token is not right." : "";
  if (!$("door").open) $("door").showModal();
}

function showState(state) {
  const words = { RUNNING: "Running", STARTING: "Starting", BUILDING: "Building", SOURCE_LOST: "Source lost", STALLED: "Stalled", STOPPING: "Stopping" };
  const looks = { RUNNING: state.reason ? "warn" : "good", SOURCE_LOST: "bad", STALLED: "bad" };
  status(looks[state.state] ?? "warn", words[state.state]);
  flag(state.state === "RUNNING" ? state.reason || notice : `${words[state.state]}${state.reason ? `: ${state.reason}` : ""}`);
  charts.add(state.sample);
  const held = player.hold >= 20 ? `, pictures held back ${Math.round(player.hold)} ms for their masks` : "";
  const others = state.viewers > 1 ? `, ${state.viewers} viewers` : "";
  $("link").textContent = `This page: ${Math.round(player.fps)} fps, ${state.missed_frames} missed${held}${others}`;
}

/** A line over the video, where something is wrong. */
function flag(text) {
  $("flag").textContent = text ?? "";
  $("flag").hidden = !text;
}

function status(look, word) {
  const name = $("status").querySelector("b");
  $("status").dataset.state = look;
  document.title = look === "good" ? "henasy-stream" : `${word} – henasy-stream`;
  if (name.textContent !== word) name.textContent = word;
}

// ---- painting

function paint() {
  const { frame, bitmap, result } = current, video = $("video");
  if (video.width !== bitmap.width || video.height !== bitmap.height) {
    Object.assign(video, { width: bitmap.width, height: bitmap.height });
    $("stage").style.setProperty("--ratio", bitmap.width / bitmap.height);
  }
  $("blank").hidden = true;
  video.getContext("2d").drawImage(bitmap, 0, 0);
  video.dataset.stamp = frame.stamp_ns;
  video.dataset.index = frame.index;
  paintOverlay();
  const now = performance.now();
  if (now >= detailsDue || player.paused) {
    detailsDue = now + 100;
    showCaption(result);
    tracks.update(frame, bitmap, result, chosen, now);
    queries.update(result);
    drawGraph(frame, result);
    const names = result ? result.tracks.filter((t) => t.state !== "lost").map((t) => t.label) : [];
    video.setAttribute("aria-label", `Video; seen: ${names.join(", ") || "nothing"}`);
  }
}

/** Where the video stands inside the stage, as `object-fit: contain` places it, in CSS pixels. */
function shownAt(frame) {
  const { clientWidth, clientHeight } = $("stage"), scale = Math.min(clientWidth / frame.width, clientHeight / frame.height);
  const width = frame.width * scale, height = frame.height * scale;
  return { left: (clientWidth - width) / 2, top: (clientHeight - height) / 2, width, height };
}

function paintOverlay() {
  if (!current) return;
  const { frame, result } = current, overlay = $("overlay"), place = shownAt(frame);
  for (const side of ["left", "top", "width", "height"]) overlay.style[side] = `${place[side]}px`;
  const { context } = sized(overlay), scale = overlay.width / frame.width;
  context.canvas.dataset.result = overlayOn && result ? result.stamp_ns : "";
  drawOverlay(context, frame, overlayOn ? result : null, scale, chosen);
}

function tick(now) {
  player.tick(now);
  if (now >= timelineDue) {
    timelineDue = now + (calm.matches ? 1000 : 100);
    const at = current?.frame.stamp_ns ?? timeline.newest;
    if (at !== null && at !== undefined) timeline.draw(at, chosen);
  }
  requestAnimationFrame(tick);
}
requestAnimationFrame(tick);

// ---- what is pressed

function choose(id) {
  chosen = id;
  refresh();
}

function refresh() {
  timelineDue = detailsDue = 0;
  if (current) paint();
}

function pause(on = !player.paused) {
  if (on === player.paused || (on && !current)) return;
  if (on) player.pause();
  else player.resume();
  link.want({ frames: !on && !document.hidden });
  $("pause-icon").setAttribute("href", on ? "#i-play" : "#i-pause");
  $("pause").lastElementChild.textContent = on ? "Go on live" : "Pause";
  $("pause").title = on ? "Go on live (Space)" : "Pause this page (Space)";
  moment();
}

async function step(count, byResult) {
  if (!player.paused) pause(true);
  if (!player.step(count, byResult)) return;
  setTimeout(moment, 30);
}

function moment() {
  const last = player.frames.at(-1);
  const behind = player.paused && last && player.shown ? (last.stamp_ns - player.shown.stamp_ns) / 1e9 : 0;
  $("moment").textContent = player.paused ? (behind > 0.0005 ? `−${behind.toFixed(2)} s` : "paused") : "live";
  $("moment").dataset.live = player.paused ? "no" : "yes";
}

function toggleOverlay() {
  overlayOn = !overlayOn;
  $("masks").setAttribute("aria-pressed", String(overlayOn));
  paintOverlay();
}

function switchTheme(name) {
  setTheme(name);
  charts.draw();
  refresh();
}

function nextTheme() {
  const name = document.documentElement.dataset.theme === "light" ? "dark" : "light";
  localStorage.setItem("henasy-theme", name);
  switchTheme(name);
}

const preferred = () => localStorage.getItem("henasy-theme") ?? (bright.matches ? "light" : "dark");
switchTheme(preferred());
bright.onchange = () => switchTheme(preferred());
narrow.onchange = () => link.want({ size: narrow.matches ? "small" : "full" });

/** A click on an entity chooses it, the smallest where several lie over each other. */
$("stage").onclick = (event) => {
  if (!current?.result || !overlayOn) return;
  const { frame, result } = current, { left, top } = $("stage").getBoundingClientRect(), place = shownAt(frame);
  const scale = place.width / frame.width;
  const x = (event.clientX - left - place.left) / scale, y = (event.clientY - top - place.top) / scale;
  const area = ({ box_xyxy: [x0, y0, x1, y1] }) => (x1 - x0) * (y1 - y0);
  const hit = result.tracks.filter((t) => t.state !== "removed" && t.state !== "lost")
    .filter(({ box_xyxy: [x0, y0, x1, y1] }) => x >= x0 && x < x1 && y >= y0 && y < y1)
    .sort((p, q) => area(p) - area(q))[0];
  choose(!hit || hit.id === chosen ? null : hit.id);
};

$("pause").onclick = () => pause();
$("back").onclick = () => step(-1);
$("next").onclick = () => step(1);
$("masks").onclick = toggleOverlay;
$("theme").onclick = nextTheme;
$("help").onclick = () => $("keys").showModal();
$("longer").onclick = () => zoom(1);
$("shorter").onclick = () => zoom(-1);
$("door-form").onsubmit = (event) => {
  event.preventDefault();
  link.unlock($("token").value.trim());
  $("token").value = "";
};

function zoom(by) {
  timeline.zoom(by);
  timelineDue = 0;
}

const KEYS = {
  " ": () => pause(), m: toggleOverlay, t: nextTheme, "?": () => $("keys").showModal(),
  "+": () => zoom(-1), "=": () => zoom(-1), "-": () => zoom(1), "−": () => zoom(1),
  s: () => saver.toggle(), "/": () => $("query").focus(), Escape: () => choose(null),
};

onKeys(KEYS, step);

document.addEventListener("visibilitychange", () => link.want({ frames: !document.hidden && !player.paused }));
addEventListener("resize", refresh);
