// What keys do, by view; the same table is what "?" shows.
import { wrong } from "./ask.js";
import { find, make, on, remember } from "./common.js";
import * as editor from "./editor.js";
import { accept, acceptFirst } from "./ghosts.js";
import { magnify, save, setEnd, setStart, toField, toTimeline } from "./label.js";
import { studio } from "./model.js";
import { play, step } from "./stage.js";
import { redo, undo } from "./undo.js";

let letters = remember("read-studio-letters") !== "off"; // keys without Ctrl can be switched off, for who dictates
let go = () => {};
let view = "label";
export const onNeighbour = (act) => { go = act; };
export const inView = (name) => { view = name; };

const both = "label ask";
const TABLE = [ // [keys, what is shown, in which views, what is told, what is done]
  [[" "], "Space", both, "play and pause", play],
  [["ArrowLeft"], "←", both, "a clip back", () => step(-1)],
  [["ArrowRight"], "→", both, "a clip on", () => step(1)],
  [["Shift+ArrowLeft", ","], "Shift ←", both, "a frame back", () => step(-1, true)],
  [["Shift+ArrowRight", "."], "Shift →", both, "a frame on", () => step(1, true)],
  [["j"], "J", both, "the next video", () => go(1)],
  [["k"], "K", both, "the video before", () => go(-1)],
  [["i"], "I", "label", "start here", setStart],
  [["o"], "O", "label", "end here", setEnd],
  [["w"], "W", "label", "another window of this sentence", editor.another],
  [["n"], "N", "label", "a new sentence", () => { editor.fresh(); toField(); }],
  [["e"], "E", "label", "edit the sentence", toField],
  [["Enter"], "Enter", "label", "save the sentence", save],
  [["a"], "A", "label", "accept the first suggestion", acceptFirst],
  [["Shift+a"], "Shift A", "label", "accept all suggestions", () => accept()],
  [["+", "="], "+", "label", "the time line nearer", () => magnify(2)],
  [["-"], "−", "label", "and farther", () => magnify(1 / 2)],
  [["0", "1", "2", "3", "4"], "0 – 4", "label", "highlight score of the window; again: none", (key) => editor.score(Number(key))],
  [["Escape"], "Esc", "label", "leave the field, or the chosen sentence", () => editor.fresh()],
  [["Delete", "Backspace"], "Delete", "label", "remove the window; the sentence with its last one", editor.dropChosen],
  [["x"], "X", "ask", "this answer is wrong: make it a label", wrong],
  [["?"], "?", "label ask train files", "show the keys", () => find("keys").showModal()],
];
const byKey = new Map(TABLE.flatMap((row) => row[0].map((key) => [key, row])));
const TYPING = "input:not([type=checkbox]), textarea, select, [contenteditable]";

function letter({ key, code }) { // of a keyboard without Latin letters: that at the same place
  return /^[^\0-\x7f]$/.test(key) && code.startsWith("Key") ? code.at(-1).toLowerCase() : key;
}

function press(event) {
  const { target } = event;
  const key = letter(event);
  if (event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
  const typing = target.matches?.(TYPING);
  if (event.ctrlKey || event.metaKey) {
    const done = { z: event.shiftKey ? redo : undo, y: redo }[key.toLowerCase()];
    if (!done || typing || view !== "label") return; // a field takes back what was typed in it
    event.preventDefault();
    return done();
  }
  if (typing) {
    if (key === "Escape" && target.closest("#work")) { target.blur(); toTimeline(); }
    return;
  }
  const name = key.length === 1 ? key.toLowerCase() : key;
  const row = byKey.get(event.shiftKey && (key.length > 1 || /[a-z]/.test(name)) ? `Shift+${name}` : name);
  if (!row || !row[2].includes(view) || (!letters && key.length === 1 && key !== " ")) return;
  const own = target.matches?.("button, a, summary, [role=button]") && [" ", "Enter"].includes(key); // they press it themselves
  const listed = target.id === "video-list" && ["Enter"].includes(key);
  if (own || listed || (target.matches?.(".video-list *") && key.startsWith("Arrow"))) return;
  event.preventDefault();
  event.stopPropagation();
  row[4](key);
}
document.addEventListener("keydown", press, { capture: true }); // before the player's own keys

export function begin() {
  const told = [...TABLE.map(([, shown, , does]) => [shown, does]), ["Ctrl Z", "undo; with Shift: redo"]];
  find("keys-list").replaceChildren(...told.map(([shown, does]) => make("div", {}, make("dt", {}, make("kbd", {}, shown)), make("dd", {}, does))));
  on("show-keys", "click", () => find("keys").showModal());
  find("letters").checked = letters;
  on("letters", "change", ({ target }) => {
    letters = target.checked;
    remember("read-studio-letters", letters ? "on" : "off");
  });
  find("keys-steps").textContent = `A clip is ${studio.clip_len} s long, as the model reads videos; how long a frame is, is measured while the video plays.`;
}
