// The view of the training: what will be learned from, how far it is, what came out.
import { ask, find, hold, held, make, on, say } from "./common.js";

const SOON = 1000; // milliseconds between looks while it runs and is looked at
let timer = null;
let seen = false; // whether the view is shown
let last = null;

const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const spoken = (seconds) => (seconds < 90 ? `${Math.max(Math.round(seconds), 1)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} minutes` : `${(seconds / 3600).toFixed(1)} hours`);
const WORDS = { idle: "", running: "Training", stopping: "Stopping; what is finished stays", stopped: "Stopped. Resume goes on where it was.", failed: "The training failed.", done: "Done." };

function drawPlan({ plan, can, why, state }) {
  const runs = ["running", "stopping"].includes(state);
  find("plan-why").textContent = why;
  find("plan-why").hidden = can || !why;
  find("plan-told").textContent = plan?.labelled ? `${many(plan.labelled, "labelled video")}: ${plan.train} to learn from, ${plan.test} to be tested on.` : "No video is labelled yet.";
  find("plan-shots").textContent = plan?.shots?.length ? `Trained with ${listed(plan.shots)} videos in turn, which shows how the score grows.` : "";
  find("plan-notes").replaceChildren(...(plan?.notes ?? []).map((note) => make("li", {}, note)));
  const params = plan?.params ?? [];
  find("params").hidden = !params.length || runs;
  find("params-rows").replaceChildren(...params.map(([key, old, now]) => make("tr", {}, make("th", { scope: "row" }, key), make("td", {}, shown(old)), make("td", {}, shown(now)))));
}
const listed = (all) => (all.length < 2 ? String(all) : `${all.slice(0, -1).join(", ")} and ${all.at(-1)}`);
const shown = (value) => (value === null || value === undefined ? "–" : Array.isArray(value) ? `[${value.join(", ")}]` : String(value));

function drawRun({ state, stages, share, left, error, can, started, ended }) {
  const runs = ["running", "stopping"].includes(state);
  find("run").hidden = state === "idle";
  find("run-told").textContent = state === "running" ? `Training: ${Math.floor(100 * share)} %${left === null ? "" : `, about ${spoken(left)} left`}` : WORDS[state];
  find("run-error").textContent = error ?? "";
  find("run-error").hidden = !error;
  find("run-bar").hidden = state === "done";
  find("run-bar").value = share;
  find("stages").replaceChildren(...(stages ?? []).map(({ name, done, total, state: at }) => {
    const bar = make("progress", { max: Math.max(total, 1), value: done, "aria-label": name });
    return make("li", { class: at }, make("span", { class: "name" }, name), bar, make("span", { class: "num" }, total ? `${done} of ${total}` : at));
  }));
  find("train-start").textContent = { stopped: "Resume", failed: "Try again", done: "Train again" }[state] ?? "Train";
  find("train-start").hidden = runs;
  hold(find("train-start"), !can);
  find("train-stop").hidden = !runs;
  hold(find("train-stop"), state === "stopping");
  find("run-took").textContent = started && ended && state === "done" ? `It took ${spoken(ended - started)}.` : "";
}

function drawVerdict({ verdict, report }) {
  find("verdict").hidden = !verdict;
  find("report").hidden = !report;
  if (!verdict) return;
  const left = verdict.left_test ? [`${many(verdict.left_test, "video")} left the test side after a wrong answer was labelled: scores before and after are not comparable.`] : [];
  drawTold("verdict", "metric", "cautions", { ...verdict, cautions: [...(verdict.cautions ?? []), ...left] });
  find("summaries").hidden = !verdict.summaries;
  if (verdict.summaries) drawTold("summaries", "summaries-metric", "summaries-cautions", verdict.summaries);
}

function drawTold(name, metric, cautions, told) { // sentence, rows and cautions of one task
  find(`${name}-told`).textContent = told.sentence;
  find(metric).textContent = told.metric ? `${told.metric}, in points` : "";
  const most = Math.max(...told.rows.map(({ value }) => Number(value) || 0), 1e-9);
  find(`${name}-rows`).replaceChildren(...told.rows.map(({ name: row, value, note }) => {
    const bar = make("i");
    bar.style.width = `${(100 * Math.max(Number(value) || 0, 0)) / most}%`;
    const number = typeof value === "number" ? value.toFixed(1) : value ?? "–";
    return make("tr", row === told.strategy ? { class: "best" } : {}, make("th", { scope: "row" }, row), make("td", { class: "num" }, number), make("td", { class: "bar-cell", "aria-hidden": "true" }, make("span", { class: "share" }, bar)), make("td", { class: "note" }, note ?? ""));
  }));
  find(cautions).replaceChildren(...told.cautions.map((caution) => make("li", {}, caution)));
}

function draw(told) {
  last = told;
  drawPlan(told);
  drawRun(told);
  drawVerdict(told);
}

async function drawLog() {
  if (!find("log").open) return;
  const { text } = await ask("api/train/log?tail=200");
  const area = find("log-text");
  const below = area.scrollTop + area.clientHeight >= area.scrollHeight - 4;
  area.textContent = text || "Nothing has been said yet.";
  if (below) area.scrollTop = area.scrollHeight;
}

async function look() {
  clearTimeout(timer);
  if (!seen) return;
  try {
    draw(await ask("api/train"));
    await drawLog();
  } catch (error) {
    say(error.message);
  }
  const runs = ["running", "stopping"].includes(last?.state); // it may be started elsewhere, too
  if (seen) timer = setTimeout(look, runs ? SOON : 5 * SOON);
}

async function act(button, path) {
  if (held(button)) return find("plan-why").focus();
  say(null);
  hold(button, true);
  try {
    draw(await ask(path, "POST", {}));
  } catch (error) {
    say(error.message);
  }
  look();
  (find("train-stop").hidden ? find("train-start") : find("train-stop")).focus(); // the other has gone
}

export function show(on) {
  seen = on;
  if (on) look(); else clearTimeout(timer);
}
on("train-start", "click", ({ target }) => act(target, "api/train"));
on("train-stop", "click", ({ target }) => act(target, "api/train/stop"));
on("log", "toggle", () => drawLog().catch((error) => say(error.message)));
