// What is said in a video, and its summary: saved when a field is left.
import { find, on, say } from "./common.js";
import { hear } from "./model.js";
import { changeTexts, textsOf } from "./undo.js";

const fields = { transcript: find("transcript"), summary: find("summary") };
let vid = null;
let kept = null; // as last saved

const typed = () => ({ transcript: fields.transcript.value, summary: fields.summary.value });
function show({ transcript = "", summary = "" }) {
  kept = { transcript, summary };
  Object.assign(fields.transcript, { value: transcript, readOnly: false });
  Object.assign(fields.summary, { value: summary, readOnly: false });
}

export async function open(to) {
  leave();
  vid = to;
  kept = null;
  for (const field of Object.values(fields)) Object.assign(field, { value: "", readOnly: true });
  if (!vid || !find("texts").open) return;
  try {
    const told = await textsOf(to);
    if (vid === to) show(told);
  } catch (error) {
    if (vid === to) say(error.message);
  }
}

export function leave() {
  if (!kept || JSON.stringify(kept) === JSON.stringify(typed())) return;
  changeTexts(vid, kept, typed());
  kept = typed();
}

async function openFile([file]) {
  if (!file || !kept) return;
  if (!/\.(srt|vtt|txt)$/i.test(file.name)) return say(`${file.name}: a transcript is a .srt, .vtt or .txt file.`);
  if (file.size > 1e6) return say(`${file.name}: too large for a transcript.`);
  say(null);
  fields.transcript.value = spoken(await file.text());
  leave();
}

export function spoken(text) { // what is said in subtitles, without numbers, times and marks; other text stays as it is
  if (!text.includes("-->")) return text;
  const blocks = text.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n").split(/\n{2,}/);
  return blocks.map((block) => block.split("\n")).flatMap((lines) => {
    const at = lines.findIndex((line) => line.includes("-->"));
    return at < 0 ? [] : lines.slice(at + 1).map((line) => line.replace(/<[^>]*>/g, "").trim());
  }).filter(Boolean).join("\n");
}

hear("refused", ({ kind, vid: of, before }) => { if (kind === "texts" && of === vid) kept = before; }); // what was typed stays, to be mended
for (const field of Object.values(fields)) field.addEventListener("blur", leave);
on("texts", "toggle", ({ target }) => { if (target.open && !kept) open(vid); });
on("subtitles", "change", ({ target }) => { openFile(target.files); target.value = ""; });
for (const what of ["texts", "texts-undone"]) hear(what, ({ vid: of, texts }) => { if (of === vid && kept && !Object.values(fields).includes(document.activeElement)) show(texts); });
