"use strict";
// The examples: a video, and on one time axis its windows, saliency and transport plan.
function startPlayer() {
  const { examples, videos } = data("showcase-data");
  const styles = data("styles-data");
  const find = (id) => document.getElementById(id);
  const [video, timeline, select] = [find("video"), find("timeline"), find("strategy")];
  const tabs = [...document.querySelectorAll('.tabs [role="tab"]')];
  const names = [...select.options].map((option) => option.value);
  const shown = Object.fromEntries([...select.options].map((option) => [option.value, option.textContent]));
  const addresses = {};
  let [example, axis, time] = [null, null, 0];

  const node = (tag, attributes, parent, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return parent ? parent.appendChild(element) : element;
  };
  const seconds = (value) => `${value.toFixed(1)} s`;

  function address(vid) { // a blob can be sought in everywhere, a data: address cannot
    if (!(vid in addresses) && videos[vid]) {
      const bytes = Uint8Array.from(atob(videos[vid]), (letter) => letter.charCodeAt(0));
      addresses[vid] = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
    }
    return addresses[vid];
  }

  function open(index) {
    example = examples[index];
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
    });
    find("player").setAttribute("aria-labelledby", `tab-${index}`);
    find("query").textContent = example.query;
    find("reason").textContent = example.kind ? `${example.kind} query · ${example.reason}` : example.reason;
    find("vid").textContent = example.vid;
    find("length").textContent = seconds(example.duration);
    const source = address(example.vid);
    video.hidden = !source;
    find("no-video").hidden = Boolean(source);
    if (source && video.src !== source) video.src = source;
    if (!source) video.removeAttribute("src");
    draw();
    seek(example.windows[0][0]);
  }

  function seek(to) {
    time = Math.min(Math.max(to, 0), example.duration);
    if (video.src) video.currentTime = time;
    moveHead();
  }

  function moveHead() {
    const x = axis.x(Math.min(time, example.duration));
    axis.head.setAttribute("x1", x);
    axis.head.setAttribute("x2", x);
    find("clock").textContent = seconds(time);
    timeline.setAttribute("aria-valuenow", time.toFixed(1));
    timeline.setAttribute("aria-valuetext", `${time.toFixed(1)} of ${example.duration.toFixed(1)} seconds`);
  }

  function draw() {
    const run = example.runs[select.value];
    const width = Math.max(timeline.clientWidth, 240); // 0 while the page is not laid out
    const longest = Math.max(...Object.values(shown).map((name) => name.length), 12);
    const [left, right] = [Math.min(longest * 6.6 + 8, width * 0.3), 36];
    const x = (t) => left + (t / example.duration) * (width - left - right);
    const svg = node("svg", {});
    axis = { x, invert: (px) => ((px - left) / (width - left - right)) * example.duration };
    let y = drawTicks(svg, x, width);
    y = drawWindows(svg, x, y, left, width - right);
    y = drawSaliency(svg, x, y + 8, run);
    if (run.plan) y = drawPlan(svg, x, y + 10, left, run.plan);
    for (const [start, end] of example.windows) {
      svg.prepend(node("rect", { class: "band", x: x(start), y: 18, width: x(end) - x(start), height: y - 18 }));
    }
    axis.head = node("line", { class: "head", y1: 14, y2: y }, svg);
    svg.setAttribute("viewBox", `0 0 ${width} ${y + 4}`);
    svg.setAttribute("height", y + 4);
    timeline.replaceChildren(svg);
    timeline.setAttribute("aria-valuemax", example.duration.toFixed(1));
    find("plan-note").textContent = run.plan
      ? `Transport plan of ${shown[select.value]}: how much of each word’s weight goes to which clip; the stronger the colour, the more, total mass ${run.plan.mass}.`
      : `${shown[select.value]} has no transport plan.`;
    moveHead();
  }

  function drawTicks(svg, x, width) {
    const step = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600].find((s) => example.duration / s <= width / 70) ?? 1800;
    for (let t = 0; t <= example.duration; t += step) {
      node("line", { class: "tick", x1: x(t), x2: x(t), y1: 16, y2: 22 }, svg);
      node("text", { x: x(t), y: 11, "text-anchor": "middle" }, svg, t === 0 ? "0 s" : String(t));
    }
    return 26;
  }

  function drawWindows(svg, x, top, left, stop) {
    const lane = (y, name, label, windows, fill) => {
      const text = node("text", { x: 0, y: y + 12, class: name ? "pick" : "" }, svg, label);
      if (name) text.addEventListener("pointerdown", () => { select.value = name; draw(); });
      if (name === select.value) text.classList.add("chosen");
      node("rect", { class: "lane", x: left, y, width: stop - left, height: 16, rx: 3 }, svg);
      [...windows.entries()].reverse().forEach(([rank, [start, end, score]]) => { // the first window on top
        const bar = node("rect", { x: x(start), y: y + 2, width: Math.max(x(end) - x(start), 2), height: 12, rx: 3, "data-start": start }, svg);
        bar.setAttribute("class", fill ? "window" : "window truth");
        if (fill) { bar.setAttribute("fill", fill); bar.setAttribute("opacity", rank ? 0.4 / rank : 1); }
        node("title", {}, bar, `${label}, ${seconds(start)} to ${seconds(end)}${score === undefined ? "" : `, window ${rank + 1}, score ${score}`}`);
      });
    };
    lane(top, null, "ground truth", example.windows, null);
    names.forEach((name, i) => {
      const y = top + 24 + i * 20;
      lane(y, name, shown[name], example.runs[name].windows, styles[name][0]);
      node("text", { x: stop + 6, y: y + 12 }, svg, example.runs[name].iou.toFixed(2)).classList.add("heading");
    });
    return top + 24 + names.length * 20;
  }

  function drawSaliency(svg, x, top, run) {
    const height = 64;
    const edge = (clip) => x(Math.min(clip * example.clip_len, example.duration));
    node("text", { x: 0, y: top + 12 }, svg, "saliency");
    for (const [clip, value] of Object.entries(example.saliency)) {
      const from = edge(Number(clip));
      node("rect", { class: "annotators", x: from, y: top + height * (1 - value), width: edge(Number(clip) + 1) - from, height: height * value }, svg);
    }
    const [low, high] = [Math.min(...run.saliency), Math.max(...run.saliency)];
    const points = run.saliency.map((value, clip) => {
      const share = high > low ? (value - low) / (high - low) : 0.5;
      return `${((edge(clip) + edge(clip + 1)) / 2).toFixed(1)},${(top + 2 + (height - 4) * (1 - share)).toFixed(1)}`;
    });
    node("polyline", { points: points.join(" "), fill: "none", stroke: styles[select.value][0], "stroke-width": 2.5, "stroke-linejoin": "round" }, svg);
    node("line", { class: "tick", x1: x(0), x2: x(example.duration), y1: top + height, y2: top + height }, svg);
    return top + height;
  }

  function drawPlan(svg, x, top, left, plan) {
    const [row, room, peak] = [15, Math.floor((left - 8) / 6.6), Math.max(...plan.values.flat(), 1e-12)];
    plan.words.forEach((word, j) => {
      const y = top + j * row;
      node("text", { x: left - 8, y: y + 11, "text-anchor": "end" }, svg, word.length > room ? `${word.slice(0, room - 1)}…` : word);
      node("rect", { class: "lane", x: left, y, width: x(example.duration) - left, height: row - 1 }, svg);
      plan.values.forEach((values, clip) => {
        const [start, end] = [clip * example.clip_len, Math.min((clip + 1) * example.clip_len, example.duration)];
        if (values[j] <= 0 || end <= start) return;
        const cell = node("rect", { class: "heat", x: x(start), y, width: x(end) - x(start) - 0.5, height: row - 1, opacity: (0.04 + 0.96 * values[j] / peak).toFixed(3) }, svg);
        node("title", {}, cell, `${word}, ${seconds(start)} to ${seconds(end)}: ${values[j].toPrecision(2)}`);
      });
    });
    return top + plan.words.length * row;
  }

  const pointed = (event) => axis.invert(event.clientX - timeline.getBoundingClientRect().left);
  timeline.addEventListener("pointerdown", (event) => {
    if (event.target.classList.contains("pick")) return;
    const { start } = event.target.dataset;
    if (start === undefined) timeline.setPointerCapture(event.pointerId);
    seek(start === undefined ? pointed(event) : Number(start));
  });
  timeline.addEventListener("pointermove", (event) => { if (timeline.hasPointerCapture(event.pointerId)) seek(pointed(event)); });
  timeline.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: time + 1, ArrowUp: time + 1, ArrowLeft: time - 1, ArrowDown: time - 1, PageUp: time + 10, PageDown: time - 10, Home: 0, End: example.duration };
    if (event.key === " ") { if (video.src) video[video.paused ? "play" : "pause"](); } else if (event.key in moves) seek(moves[event.key]); else return;
    event.preventDefault();
  });
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => open(i));
    tab.addEventListener("keydown", (event) => {
      const next = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      open((next + tabs.length) % tabs.length);
      tabs[(next + tabs.length) % tabs.length].focus();
    });
  });
  select.addEventListener("change", draw);
  let drawn = timeline.clientWidth;
  new ResizeObserver(() => { if (timeline.clientWidth !== drawn) { drawn = timeline.clientWidth; draw(); } }).observe(timeline);
  const follow = () => { // every frame while playing: timeupdate comes only four times a second
    time = video.currentTime;
    moveHead();
    if (!video.paused) requestAnimationFrame(follow);
  };
  video.addEventListener("play", follow);
  video.addEventListener("seeked", follow);
  select.value = names.find((name) => examples[0].runs[name].plan) ?? names.at(-1);
  open(0);
}

if (document.getElementById("player")) startPlayer();
