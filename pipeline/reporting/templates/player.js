"use strict";
// What the examples of every task share: a video, a time line to move it by, tabs, and the choice of a strategy.
const node = (tag, attributes, parent, text) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return parent ? parent.appendChild(element) : element;
};
const seconds = (value) => `${value.toFixed(1)} s`;
const styles = data("styles-data");

const address = (() => { // a blob can be sought in everywhere, a data: address cannot
  const [videos, made] = [data("videos-data"), {}];
  return (vid) => {
    if (!(vid in made) && videos[vid]) {
      const bytes = Uint8Array.from(atob(videos[vid]), (letter) => letter.charCodeAt(0));
      made[vid] = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
    }
    return made[vid];
  };
})();

// `opened(player)` shows what belongs to a new example, `lanes(player, svg, scale, y)` draws below the ticks and returns
// where it ended; `chosen(player)` and `moved(player)`, if there are any, follow the strategy and the time.
class Player {
  constructor(task, { opened, lanes, chosen, moved, start }) {
    this.root = document.querySelector(`.player-of[data-task="${task}"]`);
    const { examples, strategies } = data("examples-data")[task];
    Object.assign(this, { task, examples, shown: strategies, names: Object.keys(strategies), opened, lanes, chosen, moved, start, time: 0 });
    [this.video, this.timeline, this.select] = ["video", ".timeline", ".strategy"].map((name) => this.find(name));
    this.tabs = [...this.root.querySelectorAll('[role="tab"]')];
    this.listen();
    this.select.value = this.names.find((name) => examples[0].runs[name].plan) ?? this.names.findLast((name) => name.startsWith("read")) ?? this.names.at(-1);
    this.open(0);
  }

  find(selector) { return this.root.querySelector(selector); }
  get strategy() { return this.select.value; }
  get run() { return this.example.runs[this.strategy]; }

  open(index) {
    this.example = this.examples[index];
    this.tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
    });
    this.find(".player").setAttribute("aria-labelledby", this.tabs[index].id);
    const { kind, reason, vid } = this.example;
    this.find(".reason").textContent = kind ? `${kind} · ${reason}` : reason;
    this.find(".vid").textContent = vid;
    this.opened(this);
    const source = address(vid);
    this.video.hidden = !source;
    this.find(".no-video").hidden = Boolean(source);
    if (source && this.video.src !== source) this.video.src = source;
    if (!source) this.video.removeAttribute("src");
    this.choose(this.strategy);
    this.seek(this.start(this.example));
  }

  choose(name) {
    this.select.value = name;
    this.chosen?.(this);
    this.draw();
  }

  seek(to) {
    this.time = Math.min(Math.max(to, 0), this.example.duration);
    if (this.video.src) this.video.currentTime = this.time;
    this.moveHead();
  }

  moveHead() {
    const [{ duration }, x] = [this.example, this.scale.x(Math.min(this.time, this.example.duration))];
    this.head.setAttribute("x1", x);
    this.head.setAttribute("x2", x);
    this.find(".clock").textContent = seconds(this.time);
    this.timeline.setAttribute("aria-valuenow", this.time.toFixed(1));
    this.timeline.setAttribute("aria-valuetext", `${this.time.toFixed(1)} of ${duration.toFixed(1)} seconds`);
    this.moved?.(this);
  }

  draw() {
    const { duration } = this.example;
    const width = Math.max(this.timeline.clientWidth, 240); // 0 while the page is not laid out
    const longest = Math.max(...Object.values(this.shown).map((name) => name.length), 12);
    const [left, right] = [Math.min(longest * 6.6 + 8, width * 0.3), 36];
    const span = width - left - right;
    this.scale = { left, stop: width - right, x: (t) => left + (t / (duration || 1)) * span, time: (px) => ((px - left) / span) * duration };
    const svg = node("svg", {});
    this.drawTicks(svg, width);
    const y = this.lanes(this, svg, this.scale, 26);
    this.head = node("line", { class: "head", y1: 14, y2: y }, svg);
    svg.setAttribute("viewBox", `0 0 ${width} ${y + 4}`);
    svg.setAttribute("height", y + 4);
    this.timeline.replaceChildren(svg);
    this.timeline.setAttribute("aria-valuemax", duration.toFixed(1));
    this.find(".length").textContent = seconds(duration);
    this.moveHead();
  }

  drawTicks(svg, width) {
    const { duration } = this.example;
    const step = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600].find((s) => duration / s <= width / 70) ?? 1800;
    for (let t = 0; t <= duration; t += step) {
      const x = this.scale.x(t);
      node("line", { class: "tick", x1: x, x2: x, y1: 16, y2: 22 }, svg);
      node("text", { x, y: 11, "text-anchor": "middle" }, svg, t === 0 ? "0 s" : String(t));
    }
  }

  lane(svg, y, height, label, name) { // its label chooses the strategy, if it belongs to one
    const text = node("text", { x: 0, y: y + height - 4, class: name ? "pick" : "" }, svg, label);
    if (name) text.addEventListener("pointerdown", () => this.choose(name));
    if (name === this.strategy) text.classList.add("chosen");
    node("rect", { class: "lane", x: this.scale.left, y, width: this.scale.stop - this.scale.left, height, rx: 3 }, svg);
  }

  clip(index) { // from, to: seconds
    return [index, index + 1].map((i) => Math.min(i * this.example.clip_len, this.example.duration));
  }

  listen() {
    const { timeline, video, tabs } = this;
    const pointed = (event) => this.scale.time(event.clientX - timeline.getBoundingClientRect().left);
    timeline.addEventListener("pointerdown", (event) => {
      if (event.target.classList.contains("pick")) return;
      const { start } = event.target.dataset;
      if (start === undefined) timeline.setPointerCapture(event.pointerId);
      this.seek(start === undefined ? pointed(event) : Number(start));
    });
    timeline.addEventListener("pointermove", (event) => { if (timeline.hasPointerCapture(event.pointerId)) this.seek(pointed(event)); });
    timeline.addEventListener("keydown", (event) => {
      const { time } = this;
      const moves = { ArrowRight: time + 1, ArrowUp: time + 1, ArrowLeft: time - 1, ArrowDown: time - 1, PageUp: time + 10, PageDown: time - 10, Home: 0, End: this.example.duration };
      if (event.key === " ") { if (video.src) video[video.paused ? "play" : "pause"](); } else if (event.key in moves) this.seek(moves[event.key]); else return;
      event.preventDefault();
    });
    tabs.forEach((tab, i) => {
      tab.addEventListener("click", () => this.open(i));
      tab.addEventListener("keydown", (event) => {
        const next = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: tabs.length - 1 }[event.key];
        if (next === undefined) return;
        event.preventDefault();
        this.open((next + tabs.length) % tabs.length);
        tabs[(next + tabs.length) % tabs.length].focus();
      });
    });
    this.select.addEventListener("change", () => this.choose(this.strategy));
    let drawn = timeline.clientWidth;
    new ResizeObserver(() => { if (timeline.clientWidth !== drawn) { drawn = timeline.clientWidth; this.draw(); } }).observe(timeline);
    const follow = () => { // every frame while playing: timeupdate comes only four times a second
      this.time = video.currentTime;
      this.moveHead();
      if (!video.paused) requestAnimationFrame(follow);
    };
    video.addEventListener("play", follow);
    video.addEventListener("seeked", follow);
    video.addEventListener("loadedmetadata", () => { // the last clip may be longer than what is left of the video
      const { duration } = this.example;
      if (!Number.isFinite(video.duration) || (duration && video.duration >= duration)) return;
      this.example.duration = video.duration;
      this.draw();
    });
  }
}
