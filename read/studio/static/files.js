// The view of files: labels brought in and taken out, and the versions that were saved.
import { call, find, hold, held, make, on, say } from "./common.js";
import { hear, refresh, studio, tell, videos } from "./model.js";

const KINDS = { // what people call them, and the suffixes that say so
  jsonl: ["JSON lines (QVHighlights)", ["jsonl"]],
  csv: ["CSV table", ["csv"]],
  webvtt: ["WebVTT subtitles", ["vtt"]],
  srt: ["SRT subtitles", ["srt"]],
  elan: ["ELAN, tab-delimited text", ["txt", "tsv"]],
};
const told = (kind) => KINDS[kind]?.[0] ?? kind;
const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const json = async (path, options) => (await call(path, options)).json();
const perVideo = (kinds, kind) => kinds.find((one) => one.kind === kind)?.per_video;
let given = null; // {name, text} of the file that was dropped

function fill() {
  const listed = [...videos.values()].filter(({ key }) => key).sort((a, b) => a.file.localeCompare(b.file));
  for (const [id, first] of [["import-video", "Choose …"], ["export-video", null]]) {
    const { value } = find(id);
    find(id).replaceChildren(...(first ? [new Option(first, "")] : []), ...listed.map(({ vid, file }) => new Option(file, vid)));
    if (videos.has(value)) find(id).value = value;
  }
}

export function begin() {
  find("import-kind").replaceChildren(...studio.kinds.map(({ kind }) => new Option(told(kind), kind)));
  for (const each of [false, true]) {
    const kinds = studio.kinds.filter(({ per_video: one }) => one === each);
    find(each ? "export-one" : "export-all").replaceChildren(...kinds.map(({ kind }) => {
      const link = make("a", { class: "button", href: `api/export?kind=${kind}`, download: "" }, told(kind));
      if (each) link.addEventListener("click", () => { link.href = `api/export?kind=${kind}&vid=${encodeURIComponent(find("export-video").value)}`; });
      return make("li", {}, link);
    }));
  }
  find("drop-kinds").textContent = studio.kinds.flatMap(({ kind }) => KINDS[kind]?.[1] ?? []).map((suffix) => `.${suffix}`).join("  ");
}

export async function take(file, ...others) {
  if (others.length) return say(`${others.length + 1} files at once: drop one after the other, each is tried before it is taken.`);
  if (file.type.startsWith("video/")) return say(`${file.name}: put videos into ${studio.folder}; they show up here by themselves.`);
  if (file.size > studio.max_import_bytes) return say(`${file.name}: too large; at most ${Math.floor(studio.max_import_bytes / 2 ** 20)} MiB are taken.`);
  say(null);
  const [, stem, suffix] = file.name.match(/^(.*?)\.?([^.]*)$/);
  const kind = Object.keys(KINDS).find((one) => KINDS[one][1].includes(suffix.toLowerCase()));
  try {
    given = { name: file.name, blob: new Blob([await file.arrayBuffer()]) }; // as it is now: what is tried is what is taken
  } catch {
    return say(`${file.name}: could not be read; is it a folder?`);
  }
  if (kind && studio.kinds.some((one) => one.kind === kind)) find("import-kind").value = kind;
  find("import-video").value = [...videos.values()].find((video) => video.file.replace(/\.\w+$/, "") === stem || video.vid === stem)?.vid ?? "";
  await trial();
  find("import-kind").focus();
}

async function bring(dry) {
  const [kind, vid] = [find("import-kind").value, find("import-video").value];
  const path = `api/import?kind=${kind}&name=${encodeURIComponent(given.name)}${perVideo(studio.kinds, kind) ? `&vid=${encodeURIComponent(vid)}` : ""}`;
  return json(path + (dry ? "&dry=1" : ""), { method: "POST", body: given.blob });
}

async function trial() { // what would come of it
  if (!given) return;
  const needs = perVideo(studio.kinds, find("import-kind").value);
  find("trial").hidden = false;
  find("import-video-choice").hidden = !needs;
  find("trial-name").textContent = given.name;
  find("mistakes").replaceChildren();
  hold(find("import"), true);
  if (needs && !find("import-video").value) return void (find("trial-told").textContent = "Choose the video that this file is about.");
  try {
    const { added, same, mistakes } = await bring(true);
    find("trial-told").textContent = `${many(added, "sentence")} would be added${same ? `, ${same} are there already` : ""}${mistakes.length ? `; ${many(mistakes.length, "mistake")} to mend first:` : "."}`;
    find("mistakes").replaceChildren(...mistakes.slice(0, 100).map((mistake) => make("li", {}, mistake)));
    hold(find("import"), !added || mistakes.length > 0);
  } catch (error) {
    find("trial-told").textContent = error.message;
  }
}

async function add() {
  if (held(find("import"))) return;
  hold(find("import"), true);
  try {
    const { added } = await bring(false);
    given = null;
    await refresh();
    await history();
    find("trial").hidden = true;
    tell("told", `Imported: ${many(added, "sentence")}.`);
    find("pick-file").focus();
  } catch (error) {
    find("trial-told").textContent = error.message;
  }
}

async function history() {
  const { versions } = await json("api/history");
  find("history-none").hidden = versions.length > 0;
  find("history").replaceChildren(...versions.map(({ version, at, what }, place) => {
    const when = new Date(typeof at === "number" ? at * 1000 : at);
    const back = make("button", { type: "button", "aria-label": `Go back to version ${version}` }, "Go back");
    back.addEventListener("click", () => restore(version, back));
    return make("li", {}, make("span", { class: "num note" }, when.toLocaleString()), make("span", { class: "what" }, what), place ? back : make("span", { class: "note" }, "now"));
  }));
}

async function restore(version, button) {
  if (held(button)) return;
  hold(button, true);
  try {
    await json("api/restore", { method: "POST", body: JSON.stringify({ version }) });
    await refresh();
    await history();
    tell("told", "The labels are again as they were then; this, too, can be taken back here.");
    find("history").querySelector("button")?.focus();
  } catch (error) {
    say(error.message);
    hold(button, false);
  }
}

export async function show() {
  fill();
  await history().catch((error) => say(error.message));
}

hear("labels", () => { if (!find("files").hidden) history().catch((error) => say(error.message)); });
on("pick-file", "change", ({ target }) => { if (target.files.length) take(target.files[0]); target.value = ""; });
on("import-kind", "change", trial);
on("import-video", "change", trial);
on("import", "click", add);
