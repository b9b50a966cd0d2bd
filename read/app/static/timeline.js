// A video's time line: ticks, moments, saliency and a head that follows the video.
const node = (tag, attributes, parent, text) => {
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

export class Timeline {
  #answer = null;
  #time = 0;
  #width = 0;
  #axis = null;
  #head = null;

  constructor(element, video) {
    this.element = element;
    this.video = video;
    const pointed = (event) => this.#axis.invert(event.clientX - element.getBoundingClientRect().left);
    element.addEventListener("pointerdown", (event) => {
      const { start } = event.target.dataset;
      if (start === undefined) element.setPointerCapture(event.pointerId);
      this.seek(start === undefined ? pointed(event) : Number(start));
    });
    element.addEventListener("pointermove", (event) => { if (element.hasPointerCapture(event.pointerId)) this.seek(pointed(event)); });
    element.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => { if (element.clientWidth !== this.#width) this.#draw(); }).observe(element);
    const follow = () => { // every frame while playing: timeupdate comes only four times a second
      this.#time = video.currentTime;
      this.#move();
      if (!video.paused) requestAnimationFrame(follow);
    };
    video.addEventListener("play", follow);
    video.addEventListener("seeked", follow);
  }

  show(answer) {
    this.#answer = answer;
    if (!answer) this.#time = 0; // another video begins at its start
    this.#draw();
  }

  seek(to) {
    if (!this.#answer) return;
    this.#time = Math.min(Math.max(to, 0), this.#answer.duration);
    if (this.video.src) this.video.currentTime = this.#time;
    this.#move();
  }

  #key(event) {
    const [time, { video }] = [this.#time, this];
    const moves = { ArrowRight: time + 1, ArrowUp: time + 1, ArrowLeft: time - 1, ArrowDown: time - 1, PageUp: time + 10, PageDown: time - 10, Home: 0, End: this.#answer?.duration };
    if (event.key === " ") { if (video.src) video[video.paused ? "play" : "pause"](); } else if (event.key in moves) this.seek(moves[event.key]); else return;
    event.preventDefault();
  }

  #move() {
    if (!this.#head) return;
    const { duration } = this.#answer;
    const x = this.#axis.x(Math.min(this.#time, duration));
    this.#head.setAttribute("x1", x);
    this.#head.setAttribute("x2", x);
    this.element.setAttribute("aria-valuenow", this.#time.toFixed(1));
    this.element.setAttribute("aria-valuetext", `${clock(this.#time)} of ${clock(duration)}`);
  }

  #draw() {
    this.#width = this.element.clientWidth;
    if (!this.#answer) return this.element.replaceChildren();
    const { duration, moments } = this.#answer;
    const width = Math.max(this.#width, 240); // 0 while the page is not laid out
    const [left, right] = [72, 12];
    const x = (t) => left + (t / duration) * (width - left - right);
    this.#axis = { x, invert: (px) => ((px - left) / (width - left - right)) * duration };
    const svg = node("svg", { "aria-hidden": "true" });
    this.#drawTicks(svg, x, width);
    node("text", { x: 0, y: 38 }, svg, "moments");
    node("rect", { class: "lane", x: left, y: 26, width: width - right - left, height: 18, rx: 3 }, svg);
    [...moments.entries()].reverse().forEach(([rank, { start, end, score }]) => { // the first on top
      const place = { x: x(start), y: 28, width: Math.max(x(end) - x(start), 3), height: 14, rx: 3 };
      const bar = node("rect", { ...place, class: "window", opacity: rank ? 0.45 / rank : 1, "data-start": start, "data-rank": rank }, svg);
      node("title", {}, bar, `${rank + 1}: ${clock(start)} to ${clock(end)}, score ${score.toPrecision(2)}`);
    });
    const bottom = this.#drawSaliency(svg, x, 54);
    if (moments.length) {
      const [{ start, end }] = moments;
      svg.prepend(node("rect", { class: "band", x: x(start), y: 20, width: Math.max(x(end) - x(start), 3), height: bottom - 20 }));
    }
    this.#head = node("line", { class: "head", y1: 14, y2: bottom }, svg);
    svg.setAttribute("viewBox", `0 0 ${width} ${bottom + 4}`);
    svg.setAttribute("height", bottom + 4);
    this.element.replaceChildren(svg);
    this.element.setAttribute("aria-valuemax", duration.toFixed(1));
    this.#move();
  }

  #drawTicks(svg, x, width) {
    const { duration } = this.#answer;
    const step = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200].find((s) => duration / s <= width / 80) ?? 1800;
    const minutes = (t) => (t < 3600 ? `${Math.floor(t / 60)}:${String(t % 60).padStart(2, "0")}` : clock(t));
    for (let t = 0; t <= duration; t += step) {
      node("line", { class: "tick", x1: x(t), x2: x(t), y1: 16, y2: 22 }, svg);
      node("text", { x: x(t), y: 11, "text-anchor": "middle" }, svg, duration < 60 ? (t ? String(t) : "0 s") : minutes(t));
    }
  }

  #drawSaliency(svg, x, top) {
    const { saliency, clip_len: length, duration } = this.#answer;
    const height = 72;
    const edge = (clip) => x(Math.min(clip * length, duration));
    const [low, high] = [Math.min(...saliency), Math.max(...saliency)];
    node("text", { x: 0, y: top + 12 }, svg, "saliency");
    const points = saliency.map((value, clip) => {
      const share = high > low ? (value - low) / (high - low) : 0.5;
      return `${((edge(clip) + edge(clip + 1)) / 2).toFixed(1)},${(top + 2 + (height - 4) * (1 - share)).toFixed(1)}`;
    });
    if (points.length === 1) points.push(`${x(duration)},${points[0].split(",")[1]}`);
    node("polyline", { class: "curve", points: points.join(" ") }, svg);
    node("line", { class: "tick", x1: x(0), x2: x(duration), y1: top + height, y2: top + height }, svg);
    return top + height;
  }
}
