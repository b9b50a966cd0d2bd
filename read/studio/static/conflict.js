// A change that met another one: both are shown, and a person chooses.
import { find, make } from "./common.js";
import { clock } from "./ruler.js";

const spans = (windows) => windows.map(({ start, end, score }) => `${clock(start)} – ${clock(end)}${score === null || score === undefined ? "" : `, score ${score}`}`).join("; ");
function lines(thing) {
  if (!thing) return [make("p", {}, "Removed.")];
  if ("query" in thing) return [make("p", { class: "query" }, `“${thing.query}”`), make("p", { class: "num" }, spans(thing.windows))];
  return [make("p", {}, "Transcript: ", thing.transcript || "none"), make("p", {}, "Summary: ", thing.summary || "none")];
}

export function choose(change, theirs) {
  const mine = change.kind === "remove" ? null : change.texts ?? { ...(theirs ?? change.before), ...change.to, ...change.label };
  const dialog = find("conflict");
  const before = document.activeElement;
  find("mine").replaceChildren(...lines(mine));
  find("theirs").replaceChildren(...lines(theirs));
  dialog.returnValue = "theirs";
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      before?.focus();
      resolve(dialog.returnValue === "mine" ? "mine" : "theirs");
    }, { once: true });
    dialog.addEventListener("cancel", (event) => event.preventDefault()); // there is no third choice
    dialog.showModal();
  });
}
