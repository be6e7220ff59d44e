// Frames and results as they come; which of them is shown now.  A result belongs to the frame of its stamp.

const KEPT_MS = 12_000, KEPT_BYTES = 40e6, KEPT_RESULTS = 600, LONGEST_HOLD_MS = 800;

export class Player {
  /** show(frame, bitmap, result): frame and bitmap that are on the screen from now on. */
  constructor(show) {
    this.show = show;
    this.frames = [];
    this.results = [];
    this.bytes = 0;
    this.lags = [];
    this.hold = 0;
    this.paused = false;
    this.shown = null;
    this.bitmap = null;
    this.decoding = false;
    this.drawn = [];
  }

  clear() {
    this.frames = [];
    this.results = [];
    this.bytes = 0;
    this.lags = [];
    this.hold = 0;
  }

  addFrame(head, bytes, now) {
    if (this.paused) return;
    const last = this.frames.at(-1);
    if (last && head.stamp_ns < last.stamp_ns) this.clear();
    this.frames.push({ ...head, blob: new Blob([bytes], { type: "image/jpeg" }), at: now });
    this.bytes += bytes.length;
    while (this.frames.length > 2 && (now - this.frames[0].at > KEPT_MS || this.bytes > KEPT_BYTES)) {
      this.bytes -= this.frames.shift().blob.size;
    }
    while (this.results.length > 1 && this.results[1].stamp_ns <= this.frames[0].stamp_ns) this.results.shift();
  }

  addResult(result, now) {
    if (this.paused) return;
    const last = this.results.at(-1);
    if (last && result.stamp_ns < last.stamp_ns) this.results = [];
    this.results.push(result);
    if (this.results.length > KEPT_RESULTS) this.results.shift();
    // How much later than its frame a result comes: so long pictures are held back, so that masks lie on their frame.
    const frame = this.frames.find((f) => f.stamp_ns >= result.stamp_ns);
    this.lags.push(frame ? Math.max(0, now - frame.at) : 0);
    if (this.lags.length > 8) this.lags.shift();
    const lag = Math.max(...this.lags);
    const target = lag < 25 ? 0 : Math.min(lag + 10, LONGEST_HOLD_MS);
    this.hold = target > this.hold ? target : this.hold + 0.2 * (target - this.hold);
  }

  /** Called for every picture of the screen. */
  tick(now) {
    if (this.paused || this.decoding) return;
    for (let i = this.frames.length - 1; i >= 0; i--) {
      if (this.frames[i].at + this.hold <= now) {
        if (this.frames[i] !== this.shown) this.present(this.frames[i]);
        return;
      }
    }
  }

  async present(frame) {
    this.decoding = true;
    try {
      const bitmap = await createImageBitmap(frame.blob);
      this.bitmap?.close();
      this.bitmap = bitmap;
      this.shown = frame;
      this.drawn.push(performance.now());
      if (this.drawn.length > 120) this.drawn.shift();
      this.show(frame, bitmap, this.resultFor(frame));
    } catch (error) {
      console.warn("a picture could not be decoded", error);
    } finally {
      this.decoding = false;
    }
  }

  resultFor(frame) {
    for (let i = this.results.length - 1; i >= 0; i--) {
      if (this.results[i].stamp_ns <= frame.stamp_ns) return this.results[i];
    }
    return null;
  }

  /** Frames shown a second, over the last two seconds. */
  get fps() {
    const since = performance.now() - 2000;
    return this.drawn.filter((at) => at > since).length / 2;
  }

  pause() {
    this.paused = true;
  }

  /** Back to live: what was kept is too old to be stepped through further. */
  resume() {
    this.paused = false;
    this.clear();
  }

  /** By `count` frames, or by as many results; false at an end. */
  step(count, byResult = false) {
    const at = this.frames.indexOf(this.shown);
    let to = at + count;
    if (byResult) {
      const stamps = new Set(this.results.map((r) => r.stamp_ns));
      for (to = at + Math.sign(count); to >= 0 && to < this.frames.length; to += Math.sign(count)) {
        if (stamps.has(this.frames[to].stamp_ns)) break;
      }
    }
    if (at < 0 || to < 0 || to >= this.frames.length) return false;
    this.present(this.frames[to]);
    return true;
  }
}
