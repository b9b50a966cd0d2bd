// The sentence in the making, or the label that is chosen: its windows, the marks that are set, what is kept of it.
import { say } from "./common.js";
import { hear, labelOf, nowOf, studio, tell } from "./model.js";
import { round } from "./marks.js";
import { clock } from "./ruler.js";
import { duration } from "./stage.js";
import { change } from "./undo.js";

const blank = () => ({ query: "", typed: null, windows: [], mark: {}, chosen: -1, asked: false, ghosts: null });
export let vid = null;
export let id = null; // of the chosen label; null while a sentence is new
let draft = blank();

const drafts = new Map(); // what is not finished outlives the tab
const place = (what, of) => `read-studio/${studio.kept_in}/${what}/${of}`;
function store(key, kept) {
  drafts.set(key, kept);
  try {
    if (kept) localStorage.setItem(key, JSON.stringify(kept)); else localStorage.removeItem(key);
  } catch { /* full or forbidden: kept as long as this tab lives */ }
}
function stored(key) {
  if (drafts.has(key)) return drafts.get(key);
  try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }
}
const keepDraft = (of, kept) => store(place("draft", of), kept); // one for each video
const draftOf = (of) => ({ ...blank(), ...stored(place("draft", of)) });

export const label = () => (id ? labelOf(id) : null);
export const windows = () => label()?.windows ?? draft.windows;
export const query = () => label()?.query ?? draft.query;
export const typed = () => draft.typed ?? query(); // other words for a label that is there, which were refused
export const chosen = () => draft.chosen; // which window
export const mark = () => draft.mark; // {start} or {end}, until both are set
export const asked = () => draft.asked; // whether the model's answer was seen first
export const shownGhosts = () => draft.ghosts; // what it answered then

const used = ({ query: text, windows: all, mark: set }) => Boolean(text || all.length || Object.keys(set).length);

function keep() {
  if (!id) keepDraft(vid, used(draft) ? draft : null);
  tell("editor");
}

function wait(of, sentence) { // one that was refused, or put aside for an answer, until no other is in the making
  store(place("waiting", of), [...stored(place("waiting", of)) ?? [], sentence]);
}
function next() {
  const [first, ...rest] = stored(place("waiting", vid)) ?? [];
  store(place("waiting", vid), rest.length ? rest : null);
  return { ...blank(), ...first };
}

export function open(to) {
  [vid, id] = [to, null];
  draft = draftOf(vid);
  if (vid && !used(draft)) draft = next();
  keep();
}

export function fresh(given = null) { // the draft of this video, or a new one in its place
  id = null;
  const kept = draftOf(vid);
  if (given && used(kept) && kept.query !== given.query) wait(vid, kept);
  draft = given ? { ...blank(), ...given } : kept;
  keep();
}

export function clear() {
  id = null;
  draft = next();
  keep();
}

export function choose(to, window = 0, text = null) {
  id = nowOf(to);
  draft = { ...blank(), chosen: window, typed: text };
  tell("editor");
}

export function type(text) {
  if (id) return;
  draft.query = text;
  keep();
}

// Windows of a saved label are saved at once; those of a new sentence when it is.
function set(next, active = null) {
  const sorted = [...next].sort((a, b) => a.start - b.start);
  const late = sorted.findIndex((window, at) => at && window.start < sorted[at - 1].end);
  if (late > 0) return say(`Windows of one sentence cannot overlap: ${sorted.slice(late - 1, late + 1).map(({ start, end }) => `${clock(start)} – ${clock(end)}`).join(" and ")}.`);
  draft.chosen = sorted.indexOf(active);
  draft.mark = {};
  const { vid: at, query: text } = label() ?? {};
  if (id) change(id, { vid: at, query: text, windows: sorted }); else draft.windows = sorted;
  keep();
}

export function pick(index) {
  draft.chosen = index;
  draft.mark = {};
  keep();
}

export function put(side, at) { // I and O
  const time = round(Math.min(Math.max(at, 0), duration()));
  const window = windows()[draft.chosen];
  say(null);
  const next = { ...(window ?? draft.mark), [side]: time };
  const both = next.start !== undefined && next.end !== undefined;
  if (window && next.start >= next.end) {
    return say(side === "start" ? `That is not before the end of this window, ${clock(window.end)}. W marks another window.`
      : `That is not after the start of this window, ${clock(window.start)}. W marks another window.`);
  }
  if (window) return set(windows().map((one) => (one === window ? next : one)), next);
  if (both && next.start < next.end) {
    const made = { score: null, ...next };
    return set([...windows(), made], made);
  }
  draft.mark = { [side]: time };
  keep();
}

export function another() { // W
  pick(-1);
  tell("told", "Set the start (I) and the end (O) of another window.");
}

export function add(given) { // accepted suggestions
  const made = given.map(({ start, end }) => ({ start: round(start), end: round(Math.min(end, duration() || end)), score: null }));
  set([...windows(), ...made], made.at(-1));
}

export function move(index, { start, end }) {
  if (!windows()[index]) return; // removed in another tab meanwhile
  const next = { ...windows()[index], start, end };
  set(windows().with(index, next), next);
}

export function score(value) { // the same again takes it away
  const window = windows()[draft.chosen];
  if (!window) return say("Choose a window first; the score is one of a window.");
  const next = { ...window, score: window.score === value ? null : value };
  set(windows().with(draft.chosen, next), next);
  tell("told", next.score === null ? "No score." : `Score ${next.score}.`);
}

export function drop(index) { // a window; the label with it if it is the last one
  const rest = windows().filter((_, at) => at !== index);
  if (id && !rest.length) return remove(id);
  set(rest);
}

export function dropChosen() { // Delete
  if (windows().length) return drop(draft.chosen < 0 ? windows().length - 1 : draft.chosen);
  tell("told", "There is nothing to remove.");
}

export function remove(which) {
  const gone = labelOf(nowOf(which));
  if (!gone) return;
  change(gone.id, null);
  if (gone.id === id) fresh();
  tell("told", `Removed: “${gone.query}”.`);
}

export function save(text) { // Enter; true when there was something to save
  const said = text.replace(/\p{Cc}+/gu, " ").trim(); // tabs of a table that it was copied from
  say(null);
  if (!vid) return void say("Choose a video first.");
  if (!said) return void say("Type what happens, in a sentence.");
  if ([...said].length > studio.max_query) return void say(`The sentence has ${[...said].length} characters; at most ${studio.max_query} are taken.`);
  if (id) {
    const { vid: at, windows: had } = label();
    draft.typed = null;
    change(id, { vid: at, query: said, windows: had });
    return true;
  }
  if (!draft.windows.length) {
    return void say(draft.mark.start !== undefined ? "Set the end as well: play on and press O." : draft.mark.end !== undefined ? "Set the start as well: go back and press I."
      : "Mark when it happens: I sets the start at the head, O the end.");
  }
  change(null, { vid, query: said, windows: draft.windows, ...(draft.asked ? { asked: true } : {}) });
  draft = next();
  keep();
  return true;
}

hear("renamed", ({ from, to }) => { if (id === from) id = to; });
hear("labels", () => { // it may have been removed in another tab, or its windows be others
  if (id && !labelOf(id)) fresh();
  else if (draft.chosen >= windows().length) draft.chosen = windows().length - 1;
  tell("editor");
});
hear("refused", ({ kind, label: lost, id: of, to }) => { // what was typed comes back
  if (kind === "change" && to.query !== undefined && labelOf(of)?.vid === vid) choose(of, 0, to.query);
  if (kind !== "add") return;
  const again = { query: lost.query, windows: lost.windows, asked: Boolean(lost.asked) };
  if (used(lost.vid === vid && !id ? draft : draftOf(lost.vid))) return wait(lost.vid, again);
  keepDraft(lost.vid, again);
  if (lost.vid === vid && !id) fresh();
});
