// An answer as a time line: moments, and saliency.
import { Ruler, clock, node } from "./ruler.js";

export class Timeline extends Ruler {
  #answer = null;

  show(answer) {
    this.#answer = answer;
    this.duration = answer?.duration ?? 0;
    if (!answer) this.time = 0; // another video begins at its start
    this.draw();
  }

  lanes(svg, width) {
    const { moments } = this.#answer;
    const { x, left, right } = this;
    node("text", { x: 0, y: 38 }, svg, "moments");
    node("rect", { class: "lane", x: left, y: 26, width: width - right - left, height: 18, rx: 3 }, svg);
    [...moments.entries()].reverse().forEach(([rank, { start, end, score }]) => { // the first on top
      const place = { x: x(start), y: 28, width: Math.max(x(end) - x(start), 3), height: 14, rx: 3 };
      const bar = node("rect", { ...place, class: "window", opacity: rank ? 0.45 / rank : 1, "data-start": start, "data-rank": rank }, svg);
      node("title", {}, bar, `${rank + 1}: ${clock(start)} to ${clock(end)}, score ${score.toPrecision(2)}`);
    });
    const bottom = this.#drawSaliency(svg, 54);
    if (moments.length) {
      const [{ start, end }] = moments;
      svg.prepend(node("rect", { class: "band", x: x(start), y: 20, width: Math.max(x(end) - x(start), 3), height: bottom - 20 }));
    }
    return bottom;
  }

  #drawSaliency(svg, top) {
    const { saliency, clip_len: length, duration } = this.#answer;
    const { x } = this;
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
