// Changes on their way to the server, one after the other. What cannot be saved now is kept in the browser and tried again.
import { Refused, ask, say } from "./common.js";
import { atServer, idOf, layOver, rebuild, reload, saved, tell } from "./model.js";

const AGAIN = 2000; // milliseconds between tries
const WAITS = [0, 403, 408, 409, 429]; // and 5xx: the server is away, is another one by now, or cannot write
let place = null; // under which name the changes are kept
let waiting = []; // {kind: "add", id, label} | {kind: "change", id, rev, to} | {kind: "remove", id, rev} | {kind: "texts", vid, rev, texts}
let sending = false;
let conflict = null; // what a person has to choose first
let held = null; // why the first one could not be saved
let again = null; // the timer of the next try
let choose = async () => "theirs";

layOver(() => waiting);
export const onConflict = (chooser) => { choose = chooser; };
export const unsaved = () => ({ count: waiting.length, why: held });
export const waitingTexts = (vid) => waiting.findLast((change) => change.kind === "texts" && change.vid === vid)?.texts;
export const newId = () => `~${crypto.randomUUID()}`;

function keep() {
  try {
    if (waiting.length) localStorage.setItem(place, JSON.stringify(waiting)); else localStorage.removeItem(place);
  } catch { /* full or forbidden: kept as long as this tab lives */ }
  tell("saving");
}

// Each tab keeps its changes under a name of its own, and takes over those of tabs that are gone.
export async function begin(name) {
  const prefix = `read-studio/${name}/unsaved/`;
  const claim = (key) => new Promise((resolve) => { // held until this tab ends
    navigator.locks.request(key, { ifAvailable: true }, (lock) => { resolve(!!lock); return lock && new Promise(() => {}); });
  });
  place = prefix + Math.random().toString(36).slice(2);
  await claim(place);
  for (const key of Object.keys(localStorage).filter((one) => one.startsWith(prefix) && one !== place)) {
    if (!(await claim(key))) continue;
    try { waiting.push(...JSON.parse(localStorage.getItem(key)).map((change) => ({ ...change, doubt: true }))); } catch { /* not ours */ }
    localStorage.removeItem(key);
  }
  keep();
  rebuild();
  pump();
}

export function put(change) {
  waiting.push(change);
  keep();
  if (change.kind !== "texts") rebuild();
  pump();
}

const content = (label) => label && JSON.stringify([label.vid, label.query, label.windows.map(({ start, end, score }) => [start, end, score ?? null])]);

async function deliver(change) {
  const address = change.id && `api/labels/${encodeURIComponent(change.id.startsWith("~") ? "" : JSON.parse(change.id))}`;
  if (change.kind === "add") {
    if (change.doubt) await reload(); // it may have arrived, and only the answer was lost
    const there = change.doubt && [...atServer()].find((label) => content(label) === content(change.label));
    const told = there ? { label: there } : await ask("api/labels", "POST", change.label);
    if (!there) saved(told.version, told.label);
    follow(change.id, told.label);
    return `Saved: “${told.label.query}”.`;
  }
  if (change.kind === "change") {
    const told = await ask(address, "PUT", { rev: change.rev, ...change.to });
    saved(told.version, told.label);
    follow(change.id, told.label);
    return `Saved: “${told.label.query}”.`;
  }
  if (change.kind === "remove") {
    const told = await ask(`${address}?rev=${encodeURIComponent(change.rev)}`, "DELETE");
    saved(told.version, null, change.id);
    return "Removed.";
  }
  const told = await ask(`api/videos/${encodeURIComponent(change.vid)}/texts`, "PUT", { rev: change.rev, ...change.texts });
  for (const later of waiting.slice(1)) if (later.kind === "texts" && later.vid === change.vid) later.rev = told.rev;
  tell("texts", { vid: change.vid, texts: told });
  return "Saved: the texts of this video.";
}

function follow(id, label) { // later changes of the same label build on what was saved
  for (const later of waiting.slice(1)) if (later.id === id) Object.assign(later, { id: idOf(label.qid), rev: label.rev });
  if (id !== idOf(label.qid)) tell("renamed", { from: id, to: idOf(label.qid) });
}

async function settle(change, error) { // 409: somebody else, or another tab, was first
  if (change.kind === "texts") error.told.texts ??= await ask(`api/videos/${encodeURIComponent(change.vid)}/texts`);
  const { texts, label: theirs = null } = error.told;
  if (texts && texts.transcript === change.texts.transcript && texts.summary === change.texts.summary) return done(change, null, "Saved.");
  if (change.kind === "remove" && !theirs) return done(change, null, "Removed.");
  if (change.kind === "change" && theirs && content(theirs) === content({ ...theirs, ...change.to })) return done(change, theirs, "Saved.");
  conflict = change;
  const kept = await choose(change, texts ?? theirs);
  conflict = null;
  if (kept === "theirs") {
    waiting = waiting.filter((one) => (change.id ? one.id !== change.id : one.vid !== change.vid || one.kind !== "texts"));
    if (texts) tell("texts", { vid: change.vid, texts });
    return reload();
  }
  if (texts) change.rev = texts.rev;
  else if (theirs) change.rev = theirs.rev;
  else Object.assign(change, { kind: "add", label: { ...change.before, ...change.to } }); // it was removed there: it is made again
}

function done(change, label, sentence) {
  if (label) { saved(0, label); follow(change.id, label); } else if (change.id) saved(0, null, change.id);
  waiting.shift();
  tell("told", sentence);
}

async function one(change) { // throws where it has to wait
  try {
    tell("told", await deliver(change));
    waiting.shift();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 409 && "label" in error.told) { // another 409 says that it cannot be saved yet
      return settle(change, error);
    }
    if (WAITS.includes(error.status) || error.status >= 500) throw error;
    waiting.shift();
    say(error.message);
    tell("refused", change);
  }
}

async function pump() {
  if (sending || conflict) return;
  sending = true;
  while (waiting.length) {
    const [change] = waiting;
    try {
      await one(change);
      held = null;
    } catch (error) {
      clearTimeout(again);
      if (error instanceof Refused) again = setTimeout(pump, AGAIN);
      held = error.message;
      change.doubt = true;
    }
    keep();
    rebuild();
    if (held) break;
  }
  sending = false;
}
addEventListener("online", pump);
