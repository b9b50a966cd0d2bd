// The view of labels: the sentence in the making beside the player, and all sentences of the video.
import { find, make, on } from "./common.js";
import * as editor from "./editor.js";
import * as ghosts from "./ghosts.js";
import { Marks } from "./marks.js";
import { hear, labelsOf } from "./model.js";
import { clock } from "./ruler.js";
import * as stage from "./stage.js";
import { counts, redo, undo } from "./undo.js";

const field = find("query");
const marks = new Marks(find("marks"), stage.player, (id, index) => {
  if (id === "ghost") ghosts.accept(index); else if (id) editor.choose(id, index); else editor.pick(index);
}, (id, index, window) => {
  if (id) editor.choose(id, index);
  editor.move(index, window);
}, (count, many) => { // more rows than fit
  find("unfold").hidden = !many;
  find("unfold").setAttribute("aria-expanded", marks.open);
  find("unfold").textContent = marks.open ? "Fewer rows" : `${count} more: show all rows`;
});
const span = ({ start, end }) => `${clock(start)} – ${clock(end)}`;
export const head = () => (stage.player.getAttribute("src") ? stage.player.currentTime : marks.time);
export const seek = (to) => marks.seek(to);
export const toTimeline = () => [find("marks"), find("answer-line")].find((one) => one.checkVisibility())?.focus({ preventScroll: true });
export function toField() { field.focus(); field.select(); }
export const magnify = (by) => marks.magnify(marks.zoom * by);
export const setStart = () => editor.put("start", head());
export const setEnd = () => editor.put("end", head());

export function save() {
  const kept = editor.save(field.value);
  if (!field.value.trim()) return field.focus();
  if (kept && editor.id) editor.fresh();
  toTimeline(); // where the keys mark
}

function keepEdited() { // a sentence that was changed and left without Enter
  const text = field.value.trim();
  if (editor.id && text && text !== editor.query()) editor.save(text);
}

function chip(window, index) {
  const active = index === editor.chosen();
  const go = make("button", { type: "button", class: "go", "aria-pressed": active }, span(window));
  go.addEventListener("click", () => { editor.pick(index); seek(window.start); });
  const scores = make("select", { "aria-label": `Highlight score of ${span(window)}` }, make("option", { value: "" }, "no score"), ...[0, 1, 2, 3, 4].map((one) => make("option", { value: one }, `score ${one}`)));
  scores.value = window.score ?? "";
  scores.addEventListener("change", () => { editor.pick(index); if (scores.value !== "") editor.score(Number(scores.value)); else if (window.score !== null) editor.score(window.score); });
  const gone = make("button", { type: "button", class: "quiet", "aria-label": `Remove the window ${span(window)}` }, "×");
  gone.addEventListener("click", () => { editor.drop(index); field.focus(); });
  return make("li", active ? { class: "active" } : {}, go, scores, gone);
}

function suggestion(ghost) {
  const go = make("button", { type: "button", class: "go" }, span(ghost));
  go.addEventListener("click", () => seek(ghost.start));
  const accept = make("button", { type: "button", "aria-label": `Accept ${span(ghost)}` }, "Accept");
  accept.addEventListener("click", () => { ghosts.accept(ghost.place); (find("ghosts").querySelector("button") ?? find("save")).focus(); });
  return make("li", {}, go, accept);
}

const waits = () => {
  const { start, end } = editor.mark();
  if (start !== undefined) return `Starts at ${clock(start)}. Now the end: O.`;
  if (end !== undefined) return `Ends at ${clock(end)}. Now the start: I.`;
  if (!editor.windows().length) return "I marks the start at the head, O the end.";
  if (editor.chosen() < 0) return "W, or I and O, mark another window.";
  return editor.id ? "Changes of windows are saved at once." : "Enter saves. I and O move this window, W begins another.";
};

function drawEditor() {
  const { id } = editor;
  find("which").textContent = id ? "Chosen sentence" : "New sentence";
  find("asked-note").hidden = !editor.asked();
  find("save").textContent = id ? "Save" : "Add";
  find("clear").hidden = Boolean(id) || !(editor.query() || editor.windows().length || editor.asked());
  find("new").hidden = !id;
  if (document.activeElement !== field || field.dataset.of !== `${editor.vid} ${id}`) field.value = editor.typed();
  field.dataset.of = `${editor.vid} ${id}`;
  find("windows").replaceChildren(...editor.windows().map(chip));
  find("hint").textContent = waits();
  drawGhosts();
}

function drawGhosts() {
  const all = ghosts.ghosts();
  find("ghosts-note").textContent = ghosts.about();
  find("ghosts").replaceChildren(...all.map(suggestion));
  find("accept-all").hidden = all.length < 2;
  drawMarks();
}

function drawMarks() {
  const others = labelsOf(editor.vid).filter(({ id }) => id !== editor.id);
  marks.show(stage.duration(), { chosen: editor.windows(), window: editor.chosen(), others, ghosts: ghosts.ghosts(), mark: editor.mark() });
}

const items = new Map(); // of the list, by label
function item(label) {
  const go = make("button", { type: "button", class: "label" }, make("span", { class: "query" }), make("span", { class: "note num" }));
  const gone = make("button", { type: "button", class: "quiet" }, "×");
  const element = make("li", {}, go, gone);
  go.addEventListener("click", () => { const { label: now } = element; editor.choose(now.id); seek(now.windows[0]?.start ?? 0); });
  gone.addEventListener("click", () => {
    const next = element.nextElementSibling ?? element.previousElementSibling;
    editor.remove(element.label.id);
    (next?.querySelector(".label") ?? field).focus(); // what had the focus is gone
  });
  return element;
}

function drawList() {
  const labels = labelsOf(editor.vid);
  const ids = new Set(labels.map(({ id }) => id));
  for (const [id, element] of items) if (!ids.has(id)) { element.remove(); items.delete(id); }
  labels.forEach((label, at) => {
    const element = items.get(label.id) ?? item(label);
    items.set(label.id, element);
    if (find("labels").children[at] !== element) find("labels").insertBefore(element, find("labels").children[at] ?? null);
    if (element.label !== label) {
      const scores = label.windows.map(({ score }) => score).filter((score) => score !== null && score !== undefined);
      element.querySelector(".query").textContent = label.query;
      element.querySelector(".note").textContent = [label.windows.map(span).join(", "), scores.length ? `score ${scores.join(", ")}` : "",
        label.asked ? "asked" : "", label.unsaved ? "not saved yet" : ""].filter(Boolean).join(" · ");
      element.querySelector(".quiet").setAttribute("aria-label", `Remove “${label.query}”`);
      element.label = label;
    }
    element.firstChild.setAttribute("aria-pressed", label.id === editor.id);
  });
  find("labels-title").textContent = labels.length ? `Sentences (${labels.length})` : "Sentences";
  find("labels-none").hidden = labels.length > 0;
}

function readout() {
  find("head").textContent = clock(head());
}

let asked = false;
function soon(draw) { // several changes in a row draw once
  return () => { if (!asked) { asked = true; requestAnimationFrame(() => { asked = false; draw(); }); } };
}
const drawAll = () => { drawEditor(); drawList(); readout(); };
hear("editor", soon(drawAll));
hear("ghosts", drawGhosts);
hear("renamed", ({ from, to }) => { const element = items.get(from); if (element) { items.delete(from); items.set(to, element); } });
hear("undo", () => { const { undo: back, redo: forth } = counts(); find("undo").setAttribute("aria-disabled", !back); find("redo").setAttribute("aria-disabled", !forth); });
hear("chosen", ({ vid, id }) => { if (vid === editor.vid && id) editor.choose(id); });
hear("videos", (changed) => { if (changed.has(editor.vid)) drawMarks(); });
for (const type of ["seeked", "timeupdate", "loadedmetadata"]) stage.player.addEventListener(type, () => { readout(); if (type === "loadedmetadata") drawMarks(); });

on("sentence", "submit", (event) => { event.preventDefault(); save(); });
on("query", "input", () => editor.type(field.value));
on("query", "change", keepEdited);
on("start", "click", setStart);
on("end", "click", setEnd);
on("window", "click", () => { editor.another(); toTimeline(); });
on("new", "click", () => { editor.fresh(); field.focus(); });
on("clear", "click", () => { editor.clear(); field.focus(); });
on("accept-all", "click", () => { ghosts.accept(); find("save").focus(); });
on("unfold", "click", () => marks.unfold(!marks.open));
on("nearer", "click", () => magnify(2));
on("farther", "click", () => magnify(1 / 2));
on("undo", "click", undo);
on("redo", "click", redo);
