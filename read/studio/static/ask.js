// The view that asks the last model: a sentence, moments, and a wrong answer that becomes a label.
import { Refused, ask as request, find, hold, held, on, say } from "./common.js";
import * as editor from "./editor.js";
import { hear, studio, videos } from "./model.js";
import { cut, list, sentences } from "./moments.js";
import * as stage from "./stage.js";
import { Timeline } from "./timeline.js";

const timeline = new Timeline(find("answer-line"), stage.player);
let vid = null;
let answer = null;
let waiting = false; // asked before the video had been read
const answers = new Map(); // of this visit, by video

export function begin() {
  const { by, trouble } = studio;
  find("trouble").textContent = trouble ?? "";
  find("ask-none").hidden = Boolean(by);
  find("ask").hidden = !by;
  find("ask-by").textContent = by === "encoder" ? "There is no trained model yet: a public encoder answers, by likeness alone. Train one to compare." : "";
  find("adapter").replaceChildren(...studio.adapters.map((name) => new Option(name, name)));
  find("adapter-choice").hidden = studio.adapters.length < 2;
  find("elsewhere").hidden = !studio.has_bundle;
}

export function open(to) {
  if (to !== vid) {
    vid = to;
    waiting = false;
    answer = answers.get(vid) ?? null;
    find("ask-query").value = answer?.query ?? find("ask-query").value;
  }
  draw();
}

function draw() {
  [find("answered").textContent, find("unknown").textContent] = answer ? sentences(answer) : ["", ""];
  find("found").hidden = !answer;
  find("after").hidden = !answer;
  if (answer) list(find("moments"), answer, (start) => timeline.seek(start), keep); else find("moments").replaceChildren();
  find("doubt").hidden = !find("moments").querySelector(".doubtful");
  timeline.show(answer);
}

const keep = (button, start, end) => cut(button, stage.address("/clip"), stage.current().file, start, end);

export async function ask() {
  const query = find("ask-query").value.trim();
  say(query ? null : "Type a sentence first: what happens in the moment that you look for?");
  if (!query) return find("ask-query").focus();
  if (!vid) return say("Choose a video first.");
  if (held(find("ask-button"))) return;
  const of = vid;
  hold(find("ask-button"), true);
  find("answered").textContent = "Looking …";
  try {
    const found = await request(`api/videos/${encodeURIComponent(of)}/answer`, "POST", { query, adapter: find("adapter").value });
    if (found.state === "done") answers.set(of, found);
    if (of !== vid) return;
    waiting = found.state !== "done";
    if (waiting) {
      find("answered").textContent = "You get the answer as soon as the video has been read …";
      return;
    }
    answer = found;
    draw();
    if (answer.present && answer.moments.length) timeline.seek(answer.moments[0].start);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (of !== vid) return;
    waiting = false;
    find("answered").textContent = "";
    say(error.message);
  } finally {
    hold(find("ask-button"), false);
  }
}

export function wrong() { // X: the sentence goes to the view of labels, with what the model saw
  if (!answer) return;
  const { query, moments } = answer;
  location.hash = `#label/${encodeURIComponent(vid)}`;
  editor.open(vid);
  editor.fresh({ query, asked: true, ghosts: moments });
}

hear("videos", (changed) => { // another model reads them anew
  for (const of of changed) if (videos.get(of)?.reading !== "done") answers.delete(of);
});
hear("videos", (changed) => { if (waiting && changed.has(vid) && stage.current().reading === "done") ask(); });
hear("videos", (changed) => {
  if (!waiting || !changed.has(vid) || stage.current().reading !== "failed") return;
  waiting = false;
  find("answered").textContent = "";
  say(stage.current().error ?? "The video could not be read.");
});
on("ask", "submit", (event) => { event.preventDefault(); ask(); });
on("adapter", "change", () => { if (answer) ask(); });
on("wrong", "click", wrong);
