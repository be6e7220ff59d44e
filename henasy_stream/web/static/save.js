// The last half minute as a file: over a connection of its own, so that the live pictures go on.

import { $, element } from "./dom.js";

const KINDS = {
  mp4: { name: "Video", type: "video/mp4", about: "MP4 with masks and labels, for VLC and others" },
  mcap: { name: "Recording", type: "application/octet-stream", about: "MCAP with frames and messages, for Foxglove and ROS" },
};

export class Saver {
  constructor(link) {
    this.link = link;
    this.busy = false;
    $("save").onclick = () => this.toggle();
    addEventListener("click", (event) => {
      if (!$("save").contains(event.target) && !$("formats").contains(event.target)) this.close();
    });
    $("formats").onkeydown = (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") {
        this.close();
        $("save").focus();
      } else if (step) {
        const all = [...$("formats").children];
        all.at((all.indexOf(document.activeElement) + step) % all.length).focus();
      } else return;
      event.preventDefault();
      event.stopPropagation();
    };
  }

  offer(kinds) {
    $("save").hidden = !kinds.length;
    const rows = kinds.filter((kind) => kind in KINDS).map((kind) => {
      const row = element("button", { type: "button", role: "menuitem" }, KINDS[kind].name, element("small", {}, KINDS[kind].about));
      row.dataset.kind = kind;
      row.onclick = () => this.save(kind);
      return row;
    });
    $("formats").replaceChildren(...rows);
  }

  toggle() {
    if (!$("formats").hidden) return this.close();
    if (this.busy || $("save").hidden) return undefined;
    $("formats").hidden = false;
    $("save").setAttribute("aria-expanded", "true");
    $("formats").firstElementChild?.focus();
    return undefined;
  }

  close() {
    $("formats").hidden = true;
    $("save").setAttribute("aria-expanded", "false");
  }

  save(kind) {
    this.close();
    this.show("Making the file", true);
    const socket = new WebSocket(this.link.address("/save")), pieces = [];
    let size = 0, done = false;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      socket.send(JSON.stringify({ t: "hello", token: this.link.token }));
      socket.send(JSON.stringify({ t: "save", format: kind }));
    };
    socket.onmessage = (event) => {
      const { head, bytes } = this.link.split(event.data);
      if (head.t === "making") {
        this.show(`Making the file${head.total ? `, ${Math.round((100 * head.done) / head.total)}%` : ""}`, true);
      } else if (head.t === "piece") {
        pieces.push(bytes);
        size += bytes.length;
        this.show(`Saving, ${(size / 1e6).toFixed(1)} MB`, true);
      } else if (head.t === "saved") {
        done = true;
        if (head.error) this.show(head.error, false);
        else this.give(new Blob(pieces, { type: KINDS[kind].type }), kind);
        socket.close();
      }
    };
    socket.onclose = () => {
      if (!done) this.show("The file could not be saved: the connection was lost", false);
    };
  }

  give(blob, kind) {
    const url = URL.createObjectURL(blob), at = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    element("a", { href: url, download: `henasy-${at}.${kind}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    this.show(`Saved, ${(blob.size / 1e6).toFixed(1)} MB`, false);
  }

  show(text, busy) {
    this.busy = busy;
    $("save").disabled = busy;
    const label = $("toast");
    label.textContent = text;
    label.hidden = false;
    clearTimeout(this.timer);
    if (!busy) this.timer = setTimeout(() => { label.hidden = true; }, 5000);
  }
}
