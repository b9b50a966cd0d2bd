// Suggestions for a sentence: where a model or an encoder thinks that it happens, to be accepted or corrected.
import { ask } from "./common.js";
import { hear, studio, tell } from "./model.js";
import * as editor from "./editor.js";

const TYPED = 500; // milliseconds after the last key
const AGAIN = 1000; // milliseconds between looks at a video that is still read
let timer = null;
let wanted = null; // {vid, query} that the suggestions are of
let found = [];
let note = "";

const apart = (a, b) => a.end <= b.start || b.end <= a.start; // as windows of one sentence have to be

export const ghosts = () => (editor.shownGhosts() ?? found).map((ghost, place) => ({ ...ghost, place })).filter((ghost) => editor.windows().every((window) => apart(window, ghost)));

export const about = () => ((editor.shownGhosts() ?? found).length && !ghosts().length ? "" : editor.shownGhosts() ? "Where the model saw it:" : note);

export function accept(place) {
  const given = [];
  for (const ghost of ghosts()) if ((place ?? ghost.place) === ghost.place && given.every((one) => apart(one, ghost))) given.push(ghost); // the best first
  if (!given.length) return tell("told", "There is no suggestion to accept.");
  editor.add(given);
  tell("told", given.length === 1 ? "Suggestion accepted." : `${given.length} suggestions accepted.`);
}
export const acceptFirst = () => accept(ghosts()[0]?.place ?? -1);

async function look(asked) {
  let told;
  try {
    told = await ask(`api/videos/${encodeURIComponent(asked.vid)}/moments?query=${encodeURIComponent(asked.query)}`);
  } catch (error) {
    told = { state: "failed", moments: [], error: error.message };
  }
  if (asked !== wanted) return;
  found = told.moments ?? [];
  const waits = ["waiting", "running"].includes(told.state);
  const who = told.by === "bundle" ? "your trained model" : "a public encoder";
  note = waits ? "Suggestions come as soon as the video has been read …" : told.error ? `No suggestions: ${told.error}`
    : found.length ? `Suggested by ${who}:` : told.by ? `As far as ${who} can tell, this is not in the video.` : "";
  if (waits) timer = setTimeout(look, AGAIN, asked);
  tell("ghosts");
}

function want() {
  const query = editor.query().trim();
  if (wanted?.vid === editor.vid && wanted.query === query) return;
  clearTimeout(timer);
  wanted = { vid: editor.vid, query };
  [found, note] = [[], ""];
  if (query && studio.by && !editor.shownGhosts()) timer = setTimeout(look, TYPED, wanted);
}
hear("editor", want);
