"use strict";
// On the time line of a query: its windows, saliency and transport plan.
function startGrounding() {
  const opened = (player) => { player.find(".query").textContent = player.example.title; };

  function lanes(player, svg, { x }, top) {
    const { example, run, strategy, shown } = player;
    let y = drawWindows(player, svg, top);
    y = drawSaliency(player, svg, y + 8);
    if (run.plan) y = drawPlan(player, svg, y + 10);
    for (const [start, end] of example.windows) {
      svg.prepend(node("rect", { class: "band", x: x(start), y: 18, width: x(end) - x(start), height: y - 18 }));
    }
    player.find(".plan-note").textContent = run.plan
      ? `Transport plan of ${shown[strategy]}: how much of each word’s weight goes to which clip; the stronger the colour, the more, total mass ${run.plan.mass}.`
      : `${shown[strategy]} has no transport plan.`;
    return y;
  }

  function drawWindows(player, svg, top) {
    const { example, names, shown, scale: { x, stop } } = player;
    const row = (y, name, label, windows) => {
      player.lane(svg, y, 16, label, name);
      [...windows.entries()].reverse().forEach(([rank, [start, end, score]]) => { // the first window on top
        const bar = node("rect", { class: name ? "window" : "window truth", x: x(start), y: y + 2, width: Math.max(x(end) - x(start), 2), height: 12, rx: 3, "data-start": start }, svg);
        if (name) { bar.setAttribute("fill", styles[name][0]); bar.setAttribute("opacity", rank ? 0.4 / rank : 1); }
        node("title", {}, bar, `${label}, ${seconds(start)} to ${seconds(end)}${score === undefined ? "" : `, window ${rank + 1}, score ${score}`}`);
      });
    };
    row(top, null, "ground truth", example.windows);
    names.forEach((name, i) => {
      const y = top + 24 + i * 20;
      row(y, name, shown[name], example.runs[name].windows);
      node("text", { class: "heading", x: stop + 6, y: y + 12 }, svg, example.runs[name].iou.toFixed(2));
    });
    return top + 24 + names.length * 20;
  }

  function drawSaliency(player, svg, top) {
    const { example, run, strategy, scale: { x } } = player;
    const height = 64;
    node("text", { x: 0, y: top + 12 }, svg, "saliency");
    for (const [clip, value] of Object.entries(example.saliency)) {
      const [from, to] = player.clip(Number(clip)).map(x);
      node("rect", { class: "annotators", x: from, y: top + height * (1 - value), width: to - from, height: height * value }, svg);
    }
    const [low, high] = [Math.min(...run.saliency), Math.max(...run.saliency)];
    const points = run.saliency.map((value, clip) => {
      const share = high > low ? (value - low) / (high - low) : 0.5;
      const [from, to] = player.clip(clip).map(x);
      return `${((from + to) / 2).toFixed(1)},${(top + 2 + (height - 4) * (1 - share)).toFixed(1)}`;
    });
    node("polyline", { points: points.join(" "), fill: "none", stroke: styles[strategy][0], "stroke-width": 2.5, "stroke-linejoin": "round" }, svg);
    node("line", { class: "tick", x1: x(0), x2: x(example.duration), y1: top + height, y2: top + height }, svg);
    return top + height;
  }

  function drawPlan(player, svg, top) {
    const { run: { plan }, example, scale: { x, left } } = player;
    const [row, room, peak] = [15, Math.floor((left - 8) / 6.6), Math.max(...plan.values.flat(), 1e-12)];
    plan.words.forEach((word, j) => {
      const y = top + j * row;
      node("text", { x: left - 8, y: y + 11, "text-anchor": "end" }, svg, word.length > room ? `${word.slice(0, room - 1)}…` : word);
      node("rect", { class: "lane", x: left, y, width: x(example.duration) - left, height: row - 1 }, svg);
      plan.values.forEach((values, clip) => {
        const [start, end] = player.clip(clip);
        if (values[j] <= 0 || end <= start) return;
        const cell = node("rect", { class: "heat", x: x(start), y, width: x(end) - x(start) - 0.5, height: row - 1, opacity: (0.04 + 0.96 * values[j] / peak).toFixed(3) }, svg);
        node("title", {}, cell, `${word}, ${seconds(start)} to ${seconds(end)}: ${values[j].toPrecision(2)}`);
      });
    });
    return top + plan.words.length * row;
  }

  new Player("grounding", { opened, lanes, start: (example) => example.windows[0][0] });
}

if (document.querySelector('.player-of[data-task="grounding"]')) startGrounding();
