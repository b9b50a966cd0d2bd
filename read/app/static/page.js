// The page: a video is added and read, sentences are asked, moments shown.
import { ask as request, call, find, held, hold, identify, on, save, say } from "./common.js";
import { cut, list, sentences } from "./moments.js";
import { clock } from "./ruler.js";
import { Timeline } from "./timeline.js";

const video = find("video");
const timeline = new Timeline(find("timeline"), video);
const SOON = 400; // milliseconds between looks at how far a video is
let visit = null; // what the server told of this visit: token, adapters, limits
let current = null; // the video on the page
let uploading = null; // the request that carries a video to the server
let answer = null;
let summary = null;
let waiting = false; // a sentence was asked before the video had been read
let early = null; // a file that was chosen before the server had told of the visit

// What this tab shows, kept while it is open: other tabs of the same visit show other videos.
let kept = { mine: [] };
try { kept = { ...kept, ...JSON.parse(sessionStorage.getItem("read-page")) }; } catch { /* as in a new tab */ }
function keep(change) {
  kept = { ...kept, ...change };
  try { sessionStorage.setItem("read-page", JSON.stringify(kept)); } catch { /* full or forbidden: lost on a reload */ }
}

const post = (path, body) => request(path, "POST", body);
const address = (part = "", id = current.id) => `api/videos/${id}${part}`;

// Adding a video

function refuse(file) { // what the server would say as well, after all of it had travelled
  if (!visit.suffixes.some((suffix) => file.name.toLowerCase().endsWith(suffix))) return `${file.name}: not a video file by its name; taken are ${visit.suffixes.join(", ")}`;
  if (file.size > visit.max_bytes) return `${file.name}: too large; this page takes videos ${visit.limits}.`;
  return file.size ? null : `${file.name}: the file is empty.`;
}

function add(file) {
  if (!visit) return void (early = file);
  const reason = refuse(file);
  say(reason);
  if (reason) return;
  uploading?.abort();
  const [before, shown] = [current?.id ? current : null, { answer, summary }];
  open({ name: file.name, state: "uploading", playable: false, copied: false });
  const request = uploading = new XMLHttpRequest(); // fetch does not tell how much of a body has left
  const end = (sentence) => {
    if (uploading !== request) return;
    uploading = null;
    if (before) { open(before); restore(shown); watch(); } else close();
    say(sentence);
  };
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    if (uploading === request) tell(loaded < total ? `Uploading: ${Math.floor((100 * loaded) / total)} %` : "Looking at the file …", loaded / total);
  });
  request.addEventListener("load", () => {
    let told = {};
    try { told = JSON.parse(request.responseText); } catch { /* told below */ }
    if (request.status !== 201) return end(told.error ?? `The server answered with status ${request.status}.`);
    if (uploading !== request) return;
    uploading = null;
    const asked = waiting;
    open(told);
    keep({ mine: [...kept.mine, told.id], answer: null, summary: null });
    if (asked) ask(); // and again as soon as the video has been read
    watch();
    if (before && kept.mine.includes(before.id)) forget(before); // never what another tab shows
  });
  request.addEventListener("error", () => end("The upload broke off; does the server still run in its terminal?"));
  request.open("POST", `api/videos?name=${encodeURIComponent(file.name)}`);
  request.setRequestHeader("X-Token", visit.token);
  request.send(file);
}

const forget = ({ id }) => call(address("", id), { method: "DELETE" }).catch((error) => say(error.message));

function open(told) {
  const lost = [document.body, null].includes(document.activeElement) || find("add").contains(document.activeElement);
  current = told;
  if (told.id) keep({ id: told.id, waiting: false });
  [answer, summary, waiting] = [null, null, false];
  find("add").hidden = true;
  find("work").hidden = false;
  find("found").hidden = find("summary").hidden = true;
  find("moments").replaceChildren();
  find("asked").textContent = find("unknown").textContent = find("summary-note").textContent = "";
  video.removeAttribute("src");
  video.load();
  timeline.show(null);
  show();
  if (lost) (visit.adapters.grounding ? find("query") : find("transcript")).focus(); // what had the focus is hidden
}

function restore(shown) { // what was asked of the current video
  [answer, summary] = [shown.answer ?? null, shown.summary ?? null];
  if (answer) draw();
  if (summary) tellSummary();
}

function close() {
  const lost = find("work").contains(document.activeElement);
  current = null;
  keep({ id: null, answer: null, summary: null });
  video.removeAttribute("src");
  video.load();
  find("work").hidden = true;
  find("add").hidden = false;
  if (lost) find("pick").focus();
}

function show() { // what is known of the current video by now
  find("name").textContent = current.name;
  find("length").textContent = current.duration ? clock(current.duration) : "";
  find("copied").hidden = !(current.copied && current.playable);
  video.hidden = !current.playable;
  find("blank").hidden = current.playable;
  if (current.playable && !video.getAttribute("src")) video.src = address("/file");
  if (current.state === "waiting") tell(current.before === 1 ? "One video is read before yours …" : current.before ? `${current.before} videos are read before yours …` : "It is your turn …");
  if (current.state === "running") {
    const known = current.total > 0 && current.done > 0;
    tell(known ? `Reading the video: ${clock(current.done)} of ${clock(current.total)}` : "Reading the video …", known ? current.done / current.total : undefined);
  }
  find("progress").hidden = current.state === "done";
}

function tell(text, share) {
  find("progress").hidden = false;
  find("progress-text").textContent = text;
  const bar = find("progress-bar");
  if (share === undefined) bar.removeAttribute("value"); else bar.value = share;
}

async function watch() {
  const { id } = current;
  while (current?.id === id && ["waiting", "running"].includes(current.state)) {
    await new Promise((resolve) => setTimeout(resolve, SOON));
    try {
      const told = await request(address("", id));
      if (current?.id === id) { current = told; show(); }
    } catch (error) {
      if (current?.id === id) { close(); say(error.message); }
      return;
    }
  }
  if (current?.id !== id) return;
  if (current.state === "failed") {
    const { error } = current;
    close();
    say(error);
  } else if (waiting) ask();
}

// Asking

async function ask() {
  const query = find("query").value.trim();
  say(query ? null : "Type a sentence first: what happens in the moment that you look for?");
  if (!query) return find("query").focus();
  waiting = current.state !== "done";
  keep({ waiting });
  if (waiting) { find("asked").textContent = "You get the answer as soon as the video has been read."; return; }
  const { id } = current;
  find("asked").textContent = "Looking …";
  try {
    const found = await post(address("/answer"), { query, adapter: find("adapter").value });
    if (current?.id !== id) return;
    answer = found;
    keep({ answer });
    draw();
    if (answer.present && answer.moments.length) timeline.seek(answer.moments[0].start);
  } catch (error) {
    find("asked").textContent = "";
    say(error.message);
  }
}

function draw() {
  [find("asked").textContent, find("unknown").textContent] = sentences(answer);
  find("found").hidden = false;
  list(find("moments"), answer, (start) => timeline.seek(start), (button, start, end) => cut(button, address("/clip"), current.name, start, end));
  find("doubt").hidden = !find("moments").querySelector(".doubtful");
  timeline.show(answer);
}

// Summaries

let kind = "text";
async function summarize() {
  if (held(find("summarize-button"))) return;
  say(null);
  if (current.state !== "done") return void (find("summary-note").textContent = "The video has to be read first.");
  const { id } = current;
  find("summary-note").textContent = "Writing …";
  hold(find("summarize-button"), true);
  try {
    const written = await post(address("/summary"), { transcript: find("transcript").value, kind, adapter: find("writer").value });
    if (current?.id !== id) return;
    summary = written;
    keep({ summary });
    tellSummary();
  } catch (error) {
    find("summary-note").textContent = "";
    say(error.message);
  } finally {
    hold(find("summarize-button"), false);
  }
}

function tellSummary() {
  find("summary-note").textContent = `By ${summary.adapter}:`;
  find("summary").textContent = summary.summary || "(no words)";
  find("summary").hidden = false;
}

async function openSubtitles([file]) {
  if (!file) return;
  const suffix = file.name.toLowerCase().split(".").at(-1);
  if (!["srt", "vtt", "txt"].includes(suffix)) return say(`${file.name}: a transcript is a .srt, .vtt or .txt file.`);
  if (file.size > 1e6) return say(`${file.name}: too large for a transcript.`);
  find("transcript").value = await file.text();
  kind = suffix === "txt" ? "text" : suffix;
}

// What a person does

on("pick", "change", ({ target }) => { if (target.files.length) add(target.files[0]); target.value = ""; });
for (const type of ["dragenter", "dragover"]) {
  document.addEventListener(type, (event) => { event.preventDefault(); find("drop").classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) find("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => { // anywhere: a browser would leave the page to show the file
  event.preventDefault();
  find("drop").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) add(file);
});
on("another", "click", () => find("pick").click());
on("remove", "click", () => {
  const gone = current;
  uploading?.abort();
  uploading = null;
  close();
  say(null);
  if (gone.id) forget(gone);
});
on("query", "input", ({ target }) => keep({ query: target.value }));
on("ask", "submit", (event) => { event.preventDefault(); ask(); });
on("adapter", "change", () => { if (answer || waiting) ask(); });
on("download", "click", () => {
  const { video: name } = answer;
  const text = JSON.stringify(summary ? { ...answer, summary: summary.summary } : answer, null, 2);
  save(new Blob([text], { type: "application/json" }), `${name.replace(/\.\w+$/, "")}.json`);
});
on("summarize", "submit", (event) => { event.preventDefault(); summarize(); });
on("subtitles", "change", ({ target }) => { openSubtitles(target.files); target.value = ""; });
on("transcript", "input", ({ target }) => { // what is pasted may be a file's content
  kind = /^\uFEFF?WEBVTT/.test(target.value) ? "vtt" : /^\uFEFF?\s*\d+\s*\n[\d:,.]+ -->/.test(target.value) ? "srt" : "text";
});

function fill(task, select, choice) {
  const names = visit.adapters[task] ?? [];
  find(task).hidden = !names.length;
  find(select).replaceChildren(...names.map((name) => new Option(name, name)));
  find(choice).hidden = names.length < 2;
}

async function begin() {
  try {
    visit = await request("api/session");
  } catch (error) {
    return say(error.message);
  }
  identify(visit.token);
  find("bundle").textContent = visit.bundle;
  find("limits").textContent = `${visit.suffixes.join(" ")} · ${visit.limits}`;
  find("keeping").textContent = `Videos go to the machine that serves this page and nowhere else. They are removed with “Remove it”, when a visit is idle for ${visit.idle}, and when the server ends.`;
  find("pick").accept = `video/*,${visit.suffixes.join(",")}`;
  fill("grounding", "adapter", "adapter-choice");
  fill("summarization", "writer", "writer-choice");
  if (early) return add(early);
  const { id, query = "", waiting: asked, ...shown } = kept;
  const own = visit.videos.find((one) => one.id === id);
  const last = own ?? visit.videos.at(-1);
  if (!last || last.state === "failed") return;
  open(last); // the page was loaded again, or in another tab
  if (own) {
    find("query").value = query;
    restore(shown);
    if (asked) ask();
  }
  watch();
}
begin();
