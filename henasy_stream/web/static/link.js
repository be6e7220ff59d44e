// The WebSocket: opens it, says hello, splits messages into head and payload, and comes back when it is lost.

const FIRST_WAIT_MS = 400, LONGEST_WAIT_MS = 4000, SILENCE_MS = 6000;

export class Link {
  /** handlers: message(head, bytes), up(), down(reason), locked(wasRefused). */
  constructor(handlers) {
    this.handlers = handlers;
    this.token = takeToken();
    this.frames = 0;
    this.wish = { frames: true, size: "full", max_fps: 30 };
    this.wait = FIRST_WAIT_MS;
    this.heard = 0;
    setInterval(() => this.watch(), 1000);
    this.open();
  }

  open() {
    const socket = new WebSocket(this.address("/live"));
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.frames = 0;
      this.heard = performance.now();
      this.say({ t: "hello", token: this.token });
      this.say({ t: "wish", ...this.wish });
    };
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = (event) => this.closed(socket, event);
  }

  take(buffer) {
    this.heard = performance.now();
    this.wait = FIRST_WAIT_MS;
    const { head, bytes } = this.split(buffer);
    if (head.t === "greeting") this.handlers.up();
    if (head.t === "frame") this.say({ t: "ack", frames: ++this.frames });
    this.handlers.message(head, bytes);
  }

  address(path) {
    return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
  }

  /** The head, which is JSON behind its length, and the payload of a message. */
  split(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    return { head, bytes: new Uint8Array(buffer, 4 + length) };
  }

  closed(socket, event) {
    if (socket !== this.socket) return;
    if (event.code === 1008 && event.reason === "token") {
      sessionStorage.removeItem("henasy-token");
      this.handlers.locked(Boolean(this.token));
      return;
    }
    this.handlers.down(event.reason || "");
    setTimeout(() => this.open(), this.wait * (0.8 + 0.4 * Math.random()));
    this.wait = Math.min(this.wait * 1.6, LONGEST_WAIT_MS);
  }

  /** A peer that vanished without a word: states come every second, so silence means it is gone. */
  watch() {
    if (this.socket?.readyState === WebSocket.OPEN && performance.now() - this.heard > SILENCE_MS) {
      const socket = this.socket;
      socket.close();
      this.closed(socket, { code: 1006, reason: "nothing is heard of the node" });
    }
  }

  unlock(token) {
    this.token = token;
    sessionStorage.setItem("henasy-token", token);
    this.open();
  }

  want(change) {
    this.wish = { ...this.wish, ...change };
    this.say({ t: "wish", ...this.wish });
  }

  say(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}

/** The token of the address, which then loses it, or of this tab. */
function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found) {
    sessionStorage.setItem("henasy-token", found);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("henasy-token");
}
