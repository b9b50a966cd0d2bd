// An answer as a list: its moments, the best first, each to be gone to and to be kept as a file.
import { call, held, hold, make, save, say } from "./common.js";
import { clock } from "./ruler.js";

export function sentences({ moments, query, adapter, present, caution, unknown_words: unknown }) { // what to say of an answer
  const asked = !moments.length ? `No moment found for “${query}”.` : present ? `“${query}”, by ${adapter}:`
    : `“${query}” is not in this video, as far as ${adapter} can tell${caution ? ` (${caution})` : ""}. What comes nearest:`;
  return [asked, unknown.length ? `The model has never seen: ${unknown.join(", ")}. It goes by the other words.` : ""];
}

// Fill a list with the moments of an answer; `seek(start)` and `cut(button, start, end)` are what its buttons do.
export function list(element, { moments, threshold }, seek, cut) {
  const best = Math.max(...moments.map(({ score }) => score), 1e-9);
  element.replaceChildren(...moments.map(({ start, end, score }, rank) => {
    const share = make("i");
    share.style.width = `${100 * Math.max(score / best, 0)}%`;
    const go = make("button", { type: "button", class: "moment" }, make("span", { class: "unseen" }, "Moment "), make("span", { class: "rank" }, String(rank + 1)),
      " ", make("span", { class: "span" }, `${clock(start)} – ${clock(end)}`), " ", make("span", { class: "share", "aria-hidden": "true" }, share),
      " ", make("span", { class: "unseen" }, "score "), make("span", { class: "score num" }, score.toFixed(2)));
    go.addEventListener("click", () => seek(start));
    const item = make("li", threshold !== null && score < threshold ? { class: "doubtful" } : {}, go);
    if (cut) {
      const clip = make("button", { type: "button", class: "clip" }, "Clip", make("span", { class: "unseen" }, ` of moment ${rank + 1}, as a file`));
      clip.addEventListener("click", () => cut(clip, start, end));
      item.append(" ", clip);
    }
    return item;
  }));
}

export async function cut(button, address, name, start, end) { // a piece of the video, kept as a file
  if (held(button)) return;
  hold(button, true);
  say(null);
  try {
    const blob = await (await call(`${address}?start=${start}&end=${end}`)).blob();
    save(blob, `${name.replace(/\.\w+$/, "")} ${start.toFixed(1)}-${end.toFixed(1)} s.mp4`);
  } catch (error) {
    say(error.message);
  } finally {
    hold(button, false);
  }
}
