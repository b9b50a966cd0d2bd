// Seconds from left to right: ticks, and a head that follows the video; kinds of time lines draw below them.
export const node = (tag, attributes, parent, text) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return parent ? parent.appendChild(element) : element;
};

export function clock(seconds) { // 7.0 s, 1:07.0, 1:01:07
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const tenths = Math.round(seconds * 10);
  const [hours, minutes, rest] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, (tenths % 600) / 10];
  const two = (value) => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(Math.floor(rest))}` : `${minutes}:${rest.toFixed(1).padStart(4, "0")}`;
}

export function toggle(video) { // a play that is paused before it began is no fault
  if (video.paused) video.play().catch((error) => { if (error.name !== "AbortError") throw error; }); else video.pause();
}

export class Ruler {
  duration = 0; // seconds; 0 while there is nothing to show
  time = 0;
  left = 72; // pixels that the lanes' names take
  right = 12;
  zoom = 1; // how much of the video is in sight: all of it, a half, a quarter
  from = 0; // seconds, where that begins
  #width = 0;
  #head = null;

  constructor(element, video) {
    this.element = element;
    this.video = video;
    element.addEventListener("pointerdown", (event) => this.pressed(event));
    element.addEventListener("pointermove", (event) => { if (element.hasPointerCapture(event.pointerId)) this.moved(event); });
    element.addEventListener("lostpointercapture", () => this.released());
    element.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => { if (element.clientWidth !== this.#width) this.draw(); }).observe(element);
    const follow = () => { // every frame while playing: timeupdate comes only four times a second
      this.time = video.currentTime;
      this.#move();
      if (!video.paused) requestAnimationFrame(follow);
    };
    video.addEventListener("play", follow);
    video.addEventListener("seeked", follow);
  }

  pointed(event) { // seconds under the pointer
    return this.invert(event.clientX - this.element.getBoundingClientRect().left);
  }

  pressed(event) {
    const { start } = event.target.dataset;
    if (start === undefined) this.element.setPointerCapture(event.pointerId);
    this.seek(start === undefined ? this.pointed(event) : Number(start));
  }

  moved(event) {
    this.seek(this.pointed(event));
  }

  released() {}

  seek(to) {
    if (!this.duration) return;
    this.time = Math.min(Math.max(to, 0), this.duration);
    if (this.video.src) this.video.currentTime = this.time;
    this.#move();
  }

  #key(event) {
    if (event.defaultPrevented) return;
    const { time, video } = this;
    const moves = { ArrowRight: time + 1, ArrowUp: time + 1, ArrowLeft: time - 1, ArrowDown: time - 1, PageUp: time + 10, PageDown: time - 10, Home: 0, End: this.duration };
    if (event.key === " ") { if (video.src) toggle(video); } else if (event.key in moves) this.seek(moves[event.key]); else return;
    event.preventDefault();
  }

  magnify(zoom) { // around the head
    this.zoom = Math.min(Math.max(zoom, 1), Math.max(this.duration / 4, 1));
    this.from = this.time - this.duration / this.zoom / 2;
    this.draw();
  }

  #move() {
    if (!this.#head) return;
    const seen = this.duration / this.zoom;
    if (this.zoom > 1 && (this.time < this.from || this.time > this.from + seen)) { // turn to where the head is
      this.from = this.time - seen / 10;
      return this.draw();
    }
    const x = this.x(Math.min(this.time, this.duration));
    this.#head.setAttribute("x1", x);
    this.#head.setAttribute("x2", x);
    this.element.setAttribute("aria-valuenow", this.time.toFixed(1));
    this.element.setAttribute("aria-valuetext", `${clock(this.time)} of ${clock(this.duration)}`);
  }

  lanes(svg, width) { // what a kind of time line draws; returns where it ends
    return 22;
  }

  draw() {
    this.#width = this.element.clientWidth;
    if (!this.duration) return this.element.replaceChildren();
    const width = Math.max(this.#width, 240); // 0 while the page is not laid out
    const inner = width - this.left - this.right;
    const seen = this.duration / this.zoom;
    this.from = Math.min(Math.max(this.from, 0), this.duration - seen);
    this.x = (t) => this.left + ((t - this.from) / seen) * inner;
    this.invert = (px) => this.from + ((px - this.left) / inner) * seen;
    const svg = node("svg", { "aria-hidden": "true" });
    this.#drawTicks(svg, width);
    const bottom = this.lanes(svg, width);
    this.#head = node("line", { class: "head", y1: 14, y2: bottom }, svg);
    svg.setAttribute("viewBox", `0 0 ${width} ${bottom + 4}`);
    svg.setAttribute("height", bottom + 4);
    this.element.replaceChildren(svg);
    this.element.setAttribute("aria-valuemax", this.duration.toFixed(1));
    this.#move();
  }

  #drawTicks(svg, width) {
    const { duration, x } = this;
    const seen = duration / this.zoom;
    const step = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200].find((s) => seen / s <= width / 80) ?? 1800;
    const minutes = (t) => (t < 3600 ? `${Math.floor(t / 60)}:${String(t % 60).padStart(2, "0")}` : clock(t));
    for (let t = Math.ceil(this.from / step) * step; t <= this.from + seen; t += step) {
      node("line", { class: "tick", x1: x(t), x2: x(t), y1: 16, y2: 22 }, svg);
      node("text", { x: x(t), y: 11, "text-anchor": "middle" }, svg, duration < 60 ? (t ? String(t) : "0 s") : minutes(t));
    }
  }
}
