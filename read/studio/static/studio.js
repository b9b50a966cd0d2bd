// The studio: four views of a folder of videos, by addresses.
import * as answers from "./ask.js";
import { find, on, say } from "./common.js";
import { choose } from "./conflict.js";
import * as editor from "./editor.js";
import * as files from "./files.js";
import * as keys from "./keys.js";
import { toTimeline } from "./label.js";
import * as model from "./model.js";
import * as outbox from "./outbox.js";
import * as stage from "./stage.js";
import * as texts from "./texts.js";
import * as train from "./train.js";
import * as list from "./videos.js";

const LOOK = 2000; // milliseconds between looks at what changed
const TITLES = { label: "Label", train: "Train", ask: "Ask", files: "Import & export" };
let vid; // of the open video, null where there is none

const addressOf = (view, of) => `#${view}${of ? `/${encodeURIComponent(of)}` : ""}`;
function asked() { // what the address says
  const [view, of] = location.hash.slice(1).split("/").map((part) => {
    try { return decodeURIComponent(part); } catch { return part; /* typed by hand, with a % that stands for itself */ }
  });
  return [view in TITLES ? view : "label", of];
}

function show() {
  const [view, of] = asked();
  const works = ["label", "ask"].includes(view);
  keys.inView(view);
  document.body.dataset.view = view;
  find("work").hidden = !works;
  find("train").hidden = view !== "train";
  find("files").hidden = view !== "files";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    if (["label", "ask"].includes(link.dataset.view)) link.href = addressOf(link.dataset.view, of ?? vid);
  }
  train.show(view === "train");
  if (view === "files") files.show();
  if (works) openVideo(model.videos.has(of) ? of : vid ?? list.first(), view);
  if (of && !model.videos.has(of)) say(`There is no video “${of}” in this folder.`);
  const named = works && model.videos.get(vid);
  document.title = `${named ? `${named.file} · ` : ""}${TITLES[view]} · READ studio`;
}

function openVideo(to = null, view) {
  for (const part of ["label", "ask"]) for (const element of document.querySelectorAll(`.in-${part}`)) element.hidden = part !== view;
  stage.player.controls = view === "ask"; // they would cover what is looked at closely
  if (to !== vid) {
    vid = to;
    stage.open(vid);
    editor.open(vid);
    texts.open(vid);
  }
  find("choose").textContent = model.videos.get(vid)?.file ?? "Choose a video";
  find("video-name").textContent = model.videos.get(vid)?.file ?? "No video";
  about();
  list.mark(vid);
  if (view === "ask") answers.open(vid);
  fold(false);
  model.tell("editor");
}

function about() {
  const video = model.videos.get(vid);
  find("video-about").textContent = video ? list.about(video) : "";
}

function fold(open) { // on a narrow window the list is behind a button
  find("videos").classList.toggle("open", open);
  find("choose").setAttribute("aria-expanded", open);
}

const to = (of) => { if (of) location.hash = addressOf(asked()[0], of); };
list.onOpen(to);
keys.onNeighbour((by) => to(list.beside(by)));
outbox.onConflict(choose);
addEventListener("hashchange", () => { say(null); show(); });
on("choose", "click", () => { fold(!find("videos").classList.contains("open")); find("video-list").focus(); });
on("play", "click", stage.play);
for (const [id, by, one] of [["back", -1], ["on", 1], ["frame-back", -1, true], ["frame-on", 1, true]]) on(id, "click", () => stage.step(by, one));

model.hear("told", (sentence) => { find("told").textContent = sentence; });
model.hear("saving", () => {
  const { count, why } = outbox.unsaved();
  find("saved").textContent = why ? `${count} not saved yet` : count ? "Saving …" : "All saved";
  find("saved").classList.toggle("warn", Boolean(why));
  tellAway();
});
model.hear("chosen", ({ vid: of }) => { if (of !== vid) to(of); });
model.hear("videos", (changed) => {
  if (vid && !model.videos.has(vid)) vid = null; // its file has gone
  if (!vid) show(); else if (changed.has(vid)) about();
});
model.hear("labels", about);
model.hear("model", () => answers.begin());

for (const type of ["dragover", "drop"]) {
  document.addEventListener(type, (event) => { // a browser would leave the page to show the file
    event.preventDefault();
    find("drop").classList.toggle("over", type === "dragover");
    const dropped = type === "drop" ? [...event.dataTransfer.files] : [];
    if (!dropped.length) return;
    location.hash = "#files";
    files.take(...dropped);
  });
}
addEventListener("pagehide", texts.leave); // what is typed goes with the changes that are kept

let away = null; // why nothing can be asked at the moment
function tellAway() {
  const { count, why } = outbox.unsaved();
  const sentence = why ? `${why} What you change is kept in this browser (${count} so far) and saved as soon as that is possible.` : away;
  if (find("away").textContent !== (sentence ?? "")) find("away").textContent = sentence ?? ""; // told once
  find("away").hidden = !sentence;
}

let looking = null; // the timer; null while the server is asked
async function look() {
  if (looking === null) return;
  clearTimeout(looking);
  looking = null;
  if (!document.hidden) {
    try {
      await model.refresh();
      away = model.studio.amiss || null;
    } catch (error) {
      away = error.message;
    }
    tellAway();
  }
  looking = setTimeout(look, LOOK);
}

async function begin() {
  try {
    await model.begin();
  } catch (error) { // a file of labels is broken, or this browser is a stranger: until that is mended
    say(error.message);
    return setTimeout(begin, LOOK);
  }
  say(null);
  const { kept_in: place, folder } = model.studio;
  [find("folder").textContent, find("folder").title] = [folder.split(/[\\/]/).at(-1), folder];
  await outbox.begin(place);
  keys.begin();
  files.begin();
  list.arrange();
  document.body.classList.add("ready");
  show();
  if (!["train", "files"].includes(asked()[0])) toTimeline();
  looking = setTimeout(look, LOOK);
  document.addEventListener("visibilitychange", look);
}
begin();
