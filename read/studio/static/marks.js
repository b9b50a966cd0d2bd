// The time line of labels: the chosen sentence with its windows and suggestions, below it all other sentences of the video.
import { Ruler, clock, node } from "./ruler.js";

const LEAST = 0.1; // seconds that a window keeps while it is dragged
const ROWS = 6; // of other sentences, until a person opens all
export const round = (seconds) => Math.round(seconds * 100) / 100;

export class Marks extends Ruler {
  #told = { chosen: [], others: [], ghosts: [], mark: {} };
  #drag = null;
  open = false; // whether all rows of other sentences are shown

  // `chosen(id, index)` when a window is pressed, `dragged(id, index, window)` when an edge was let go, `folded(count, many)`
  // when it is drawn: how many windows are not shown but counted, and whether there are more rows than fit.
  constructor(element, video, chosen, dragged, folded) {
    super(element, video);
    Object.assign(this, { chosen, dragged, folded });
  }

  unfold(open) {
    this.open = open;
    this.draw();
  }

  show(duration, told) {
    this.#told = told;
    if (this.duration !== duration) [this.time, this.zoom, this.from] = [Math.min(this.time, duration), 1, 0];
    this.duration = duration;
    if (!duration) this.folded(0, false);
    if (!this.#drag) this.draw();
  }

  pressed(event) {
    const { id, index, side, more } = event.target.dataset;
    if (more) return this.unfold(true);
    if (side) {
      const bar = event.target.parentNode;
      const window = { start: Number(bar.dataset.start), end: Number(bar.dataset.end) };
      const beside = id ? this.#told.others.find((label) => label.id === id).windows : this.#told.chosen;
      const least = Math.max(0, ...beside.filter(({ end }) => end <= window.start).map(({ end }) => end));
      const most = Math.min(this.duration, ...beside.filter(({ start }) => start >= window.end).map(({ start }) => start));
      this.#drag = { id, index: Number(index), side, bar, window, least, most };
      this.element.setPointerCapture(event.pointerId);
    } else if (id !== undefined) {
      this.seek(Number(event.target.parentNode.dataset.start));
      this.chosen(id, Number(index));
    } else super.pressed(event);
  }

  moved(event) {
    if (!this.#drag) return super.moved(event);
    const { side, window, bar, least, most } = this.#drag; // it ends at its neighbours
    const to = Math.min(Math.max(round(this.pointed(event)), least), most);
    window[side] = side === "start" ? Math.min(to, round(window.end - LEAST)) : Math.max(to, round(window.start + LEAST));
    this.#drag.far = true;
    this.#place(bar, window);
    this.seek(window[side]);
  }

  released() {
    const drag = this.#drag;
    this.#drag = null;
    if (drag?.far) this.dragged(drag.id, drag.index, drag.window);
    if (drag) this.draw();
  }

  #place(bar, { start, end }) {
    const [first, last] = [this.x(this.from), this.x(this.from + this.duration / this.zoom)]; // what is in sight
    const [from, to] = [Math.max(this.x(start), first), Math.min(Math.max(this.x(end), this.x(start) + 3), last)];
    const [body, left, right] = bar.querySelectorAll("rect");
    bar.style.display = to <= from ? "none" : "";
    body.setAttribute("x", from);
    body.setAttribute("width", Math.max(to - from, 0));
    left?.setAttribute("x", this.x(start) < first ? -1e4 : from - 8); // an edge out of sight cannot be dragged
    right?.setAttribute("x", this.x(end) > last ? -1e4 : to - 2);
  }

  #bar(svg, window, y, height, kind, name, id, index) {
    const bar = node("g", { class: `piece ${kind}`, "data-start": window.start, "data-end": window.end }, svg);
    const at = { "data-id": id, "data-index": index };
    const body = node("rect", { class: "window", y, height, rx: 3, ...at }, bar);
    node("title", {}, body, `${name}: ${clock(window.start)} to ${clock(window.end)}`);
    for (const side of kind === "ghost" ? [] : ["start", "end"]) node("rect", { class: "edge", y: y - 2, height: height + 4, width: 10, "data-side": side, ...at }, bar);
    this.#place(bar, window);
  }

  lanes(svg, width) {
    const { chosen, others, ghosts, mark, window: active } = this.#told;
    const lane = { class: "lane", x: this.left, width: width - this.right - this.left, rx: 3 };
    node("text", { x: 0, y: 42 }, svg, "this one");
    node("rect", { ...lane, y: 26, height: 26 }, svg);
    ghosts.forEach((ghost) => this.#bar(svg, ghost, 29, 20, "ghost", "suggested", "ghost", ghost.place));
    chosen.forEach((window, index) => this.#bar(svg, window, 29, 20, index === active ? "chosen active" : "chosen", "this one", "", index));
    for (const [side, at] of Object.entries(mark)) {
      if (at < this.from || at > this.from + this.duration / this.zoom) continue;
      const x = this.x(at);
      node("path", { class: "mark", d: side === "start" ? `M${x + 6},27 H${x} V51 H${x + 6}` : `M${x - 6},27 H${x} V51 H${x - 6}` }, svg);
    }
    const pieces = others.flatMap(({ id, query, windows }) => windows.map((window, index) => ({ id, query, window, index })));
    const rows = inRows(pieces);
    const most = rows.length > ROWS && !this.open ? ROWS - 1 : rows.length; // the last row counts what is not shown
    const hidden = rows.slice(most).flat();
    this.folded(hidden.length, rows.length > ROWS);
    if (!pieces.length) return 56;
    node("text", { x: 0, y: 68 }, svg, "others");
    rows.slice(0, most).forEach((row, at) => { for (const { id, query, window, index } of row) this.#bar(svg, window, 59 + 15 * at, 11, "other", query, id, index); });
    for (const stretch of stretches(hidden)) this.#count(svg, stretch, 59 + 15 * most);
    return 60 + 15 * Math.min(rows.length, most + 1);
  }

  #count(svg, { start, end, count }, y) {
    const bar = node("g", { class: "piece more" }, svg);
    const body = node("rect", { class: "window", y, height: 11, rx: 3, "data-more": count }, bar);
    node("title", {}, body, `${count} more from ${clock(start)} to ${clock(end)}`);
    this.#place(bar, { start, end });
    if (bar.style.display === "none") return;
    const [x, width] = ["x", "width"].map((name) => Number(body.getAttribute(name)));
    node("text", { x: x + width / 2, y: y + 10, "text-anchor": "middle" }, bar, `+${count}`);
  }
}

function inRows(pieces) { // windows that overlap in rows below each other, as few as there can be
  const rows = [];
  for (const piece of pieces.toSorted((a, b) => a.window.start - b.window.start)) {
    const row = rows.find((one) => one.at(-1).window.end <= piece.window.start);
    if (row) row.push(piece); else rows.push([piece]);
  }
  return rows;
}

function stretches(pieces) { // where there are any, and how many
  const found = [];
  for (const { window: { start, end } } of pieces.toSorted((a, b) => a.window.start - b.window.start)) {
    const last = found.at(-1);
    if (last && start <= last.end) [last.end, last.count] = [Math.max(last.end, end), last.count + 1]; else found.push({ start, end, count: 1 });
  }
  return found;
}
