// What the folder holds: videos and labels, as the server has them, with this tab's unsaved changes on top.
import { Refused, ask, call, identify, onStranger } from "./common.js";

const heard = new EventTarget(); // "videos" and "labels" when they changed, "renamed" when a new label got its id
export const tell = (what, detail) => heard.dispatchEvent(new CustomEvent(what, { detail }));
export const hear = (what, act) => heard.addEventListener(what, ({ detail }) => act(detail));

export const studio = {}; // what api/state told: folder, kept_in, by, adapters, clip_len, kinds of files
export const videos = new Map(); // by vid
let base = new Map(); // labels by id, as the server has them
let shown = new Map(); // the same with the unsaved changes
let byVideo = new Map();
let version = -1;
let seen = -1; // the last look at the videos
let unsaved = () => [];

export const idOf = (qid) => JSON.stringify(qid); // 1 and "1" are two labels
const renamed = new Map();
export const nowOf = (id) => renamed.get(id) ?? id; // of a label that may have got its id since it was drawn
hear("renamed", ({ from, to }) => renamed.set(from, to));
export const labelOf = (id) => shown.get(id) ?? null;
export const labelsOf = (vid) => byVideo.get(vid) ?? [];
export const atServer = () => base.values();
export const layOver = (changes) => { unsaved = changes; }; // where the unsaved changes are to be had

const received = (label) => ({ ...label, id: idOf(label.qid) });
const starts = ({ windows }) => windows[0]?.start ?? 0;

export function rebuild() { // all is derived anew: 5,000 labels take milliseconds
  shown = new Map(base);
  for (const { kind, id, ...change } of unsaved()) {
    if (kind === "remove") shown.delete(id);
    else if (kind === "add") shown.set(id, { id, qid: null, rev: null, side: videos.get(change.vid)?.side ?? "", unsaved: true, ...change.label });
    else if (kind === "change" && shown.has(id)) shown.set(id, { ...shown.get(id), ...change.to, unsaved: true });
  }
  byVideo = new Map();
  for (const label of shown.values()) {
    if (!byVideo.has(label.vid)) byVideo.set(label.vid, []);
    byVideo.get(label.vid).push(label);
  }
  for (const labels of byVideo.values()) labels.sort((a, b) => starts(a) - starts(b));
  tell("labels");
}

function keepVideos(told) {
  const changed = told.filter((video) => JSON.stringify(videos.get(video.vid)) !== JSON.stringify(video));
  for (const video of changed) if (video.gone) videos.delete(video.vid); else videos.set(video.vid, video);
  if (changed.length) tell("videos", new Set(changed.map(({ vid }) => vid)));
}

function keepLabels(told) {
  if (told.version < version) return; // asked before our last change, answered after it
  version = told.version;
  base = new Map(told.labels.map(received).map((label) => [label.id, label]));
  rebuild();
}

export function saved(now, label, gone) { // after a change of ours; whoever else changed something is looked at by `refresh`
  if (now === version + 1) version = now;
  if (label) base.set(idOf(label.qid), received(label));
  if (gone) base.delete(gone);
}

export const reload = async () => keepLabels(await ask("api/labels"));
const once = async (path) => (await call(path, {}, true)).json();

export async function refresh() {
  const told = await ask(`api/changes?since=${version}&seen=${seen}`);
  seen = told.seen;
  keepVideos(told.videos);
  if (told.labels) keepLabels(told);
  studio.amiss = told.amiss;
  const model = ({ by, adapters, trouble, has_bundle }) => ({ by, adapters, trouble, has_bundle });
  if (JSON.stringify(model(told)) === JSON.stringify(model(studio))) return;
  Object.assign(studio, model(told));
  tell("model");
}

export async function begin() { // also when another studio answers than before
  const { videos: listed, version: _, token, ...rest } = await once("api/state");
  if (studio.kept_in && studio.kept_in !== rest.kept_in) {
    throw new Refused(`The studio of another folder, ${rest.folder}, answers here now. Start that of ${studio.folder} again, or load this page again to go on with the other.`, 403);
  }
  identify(token);
  Object.assign(studio, rest);
  [version, seen] = [-1, rest.seen];
  const there = new Set(listed.map(({ vid }) => vid));
  keepVideos([...listed, ...[...videos.keys()].filter((vid) => !there.has(vid)).map((vid) => ({ vid, gone: true }))]);
  keepLabels(await once("api/labels"));
  tell("model");
}
let beginning = null; // several requests may be refused at once
onStranger(() => (beginning ??= begin().finally(() => { beginning = null; })));
