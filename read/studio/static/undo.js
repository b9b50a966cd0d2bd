// Changes of this tab, to be taken back and made again by the inverse change at the server.
import { ask, say } from "./common.js";
import { hear, labelOf, tell } from "./model.js";
import { newId, put, waitingTexts } from "./outbox.js";

const done = []; // {id, before, after}: contents of a label, null where there is none; or {vid, before, after} of texts
const undone = [];
const revs = new Map(); // of texts, by vid

export const counts = () => ({ undo: done.length, redo: undone.length });
const contentOf = (label) => label && { vid: label.vid, query: label.query, windows: label.windows, ...(label.asked ? { asked: true } : {}) };
const same = (a, b) => JSON.stringify(a && [a.vid, a.query, a.windows.map(({ start, end, score }) => [start, end, score ?? null])])
  === JSON.stringify(b && [b.vid, b.query, b.windows.map(({ start, end, score }) => [start, end, score ?? null])]);

function make(id, now, then) { // returns the id, which is another one where a label comes into being
  const { rev } = labelOf(id) ?? {};
  if (!now) {
    const made = newId();
    put({ kind: "add", id: made, label: then });
    return made;
  }
  if (!then) put({ kind: "remove", id, rev, before: now });
  else {
    const to = { query: then.query, windows: then.windows, ...(now.vid === then.vid ? {} : { vid: then.vid }) };
    put({ kind: "change", id, rev, to, before: now });
  }
  return id;
}

function rename(from, to) {
  for (const entry of [...done, ...undone]) if (entry.id === from) entry.id = to;
}
hear("renamed", ({ from, to }) => rename(from, to));

export function change(id, then) { // `then` of a label that is not there yet, or null to remove it; returns its id
  const before = contentOf(labelOf(id));
  if (before && then && same(before, then)) return id;
  const made = make(id, before, then);
  done.push({ id: made, before, after: then });
  undone.length = 0;
  tell("undo");
  return made;
}

hear("refused", ({ id }) => { // it was never made
  const at = id ? done.findLastIndex((entry) => entry.id === id) : -1;
  if (at >= 0) done.splice(at, 1);
  tell("undo");
});

export async function textsOf(vid) { // with what waits to be saved
  const told = await ask(`api/videos/${encodeURIComponent(vid)}/texts`);
  revs.set(vid, told.rev);
  return { transcript: told.transcript, summary: told.summary, ...waitingTexts(vid) };
}
hear("texts", ({ vid, texts }) => revs.set(vid, texts.rev));

export function changeTexts(vid, before, after) {
  put({ kind: "texts", vid, rev: revs.get(vid), texts: after, before });
  done.push({ vid, before, after });
  undone.length = 0;
  tell("undo");
}

async function step(from, to, back) {
  const entry = from.at(-1);
  const word = back ? "undo" : "redo";
  if (!entry) return tell("told", `There is nothing to ${word}.`);
  const [was, then] = back ? [entry.after, entry.before] : [entry.before, entry.after];
  from.pop();
  if (entry.vid) {
    put({ kind: "texts", vid: entry.vid, rev: revs.get(entry.vid), texts: then });
    tell("texts-undone", { vid: entry.vid, texts: then });
  } else {
    const now = contentOf(labelOf(entry.id));
    if (!same(now, was)) return say(`“${(now ?? was).query}” was changed elsewhere since; there is nothing to ${word}.`);
    const made = make(entry.id, now, then);
    if (made !== entry.id) rename(entry.id, made);
    entry.id = made;
    tell("chosen", { vid: (then ?? was).vid, id: then && made });
  }
  to.push(entry);
  tell("told", back ? "Taken back." : "Made again.");
  tell("undo");
}
export const undo = () => step(done, undone, true);
export const redo = () => step(undone, done, false);
