"use strict";
// The words of a transcript and the clips they attend to, in both directions; summaries beside their reference.
function startSummarization() {
  const UNDERLINED = 6; // words marked by the clip at the head, at most
  let words = []; // elements of the transcript
  let held = null; // the word that was clicked
  let pointed = null; // the word under the pointer, or with the focus
  let tables = {}; // strategy -> attention, word after word

  function unpack(attention) {
    if (!attention) return null;
    const bytes = Uint8Array.from(atob(attention.bytes), (letter) => letter.charCodeAt(0));
    return Float64Array.from(bytes, (byte) => (byte / 255) * attention.peak);
  }

  const current = () => pointed ?? held;

  function rowOf(player, name, word) { // over clips; of all words together if there is none
    const table = tables[name];
    if (!table) return null;
    const clips = table.length / words.length;
    if (word !== null) return [...table.subarray(word * clips, (word + 1) * clips)];
    return Array.from({ length: clips }, (_, clip) => words.reduce((sum, _word, i) => sum + table[i * clips + clip], 0) / words.length);
  }

  function opened(player) {
    const { example } = player;
    [held, pointed] = [null, null];
    words = example.words.map((word, i) => {
      const element = document.createElement("span");
      element.textContent = word;
      element.setAttribute("role", "option");
      element.setAttribute("aria-selected", "false");
      element.tabIndex = i ? -1 : 0;
      return element;
    });
    player.find(".words").replaceChildren(...words.flatMap((word) => [word, " "]));
    player.find(".words").hidden = !words.length;
    player.find(".unread").textContent = words.length ? example.unread.join(" ") : "Nobody speaks: the summaries are written from the frames.";
    player.find(".heard").textContent = example.heard && ` by ear (${example.heard})`;
    player.find(".transcript").scrollTop = 0;
    tables = Object.fromEntries(player.names.map((name) => [name, unpack(example.runs[name].attention)]));
  }

  function lanes(player, svg, { x, left, stop }, top) {
    const { names, shown, strategy, example } = player;
    const rows = Object.fromEntries(names.map((name) => [name, rowOf(player, name, current())]));
    const clips = Math.max(...names.map((name) => rows[name]?.length ?? 0));
    const even = clips ? 1 / clips : 0;
    const peak = Math.max(2 * even, ...names.flatMap((name) => rows[name] ?? []));
    const height = 64;
    node("text", { x: 0, y: top + 12 }, svg, "attention");
    node("rect", { class: "lane", x: left, y: top, width: stop - left, height, rx: 3 }, svg);
    const cell = (name, value, clip, place, opacity) => {
      const [start, end] = player.clip(clip);
      if (end <= start) return;
      const rect = node("rect", { class: "look", x: x(start), width: Math.max(x(end) - x(start) - 0.5, 0.5), fill: styles[name][0], opacity, ...place }, svg);
      node("title", {}, rect, `${shown[name]}, ${seconds(start)} to ${seconds(end)}: ${(100 * value).toFixed(1)} %`);
    };
    rows[strategy]?.forEach((value, clip) => cell(strategy, value, clip, { y: top + height * (1 - value / peak), height: height * value / peak }, 1));
    if (clips) node("line", { class: "even", x1: left, x2: stop, y1: top + height * (1 - even / peak), y2: top + height * (1 - even / peak) }, svg);
    names.forEach((name, i) => {
      const y = top + height + 10 + i * 20;
      player.lane(svg, y, 16, shown[name], name);
      rows[name]?.forEach((value, clip) => cell(name, value, clip, { y, height: 16 }, (value / peak).toFixed(3)));
    });
    say(player, rows[strategy], even);
    return top + height + 10 + names.length * 20;
  }

  function say(player, row, even) {
    const name = player.shown[player.strategy];
    const what = current() === null ? "All words together" : `“${player.example.words[current()]}”`;
    const best = row ? row.indexOf(Math.max(...row)) : -1;
    const [start, end] = player.clip(best);
    player.find(".attended").textContent = row
      ? `${what} attend${current() === null ? "" : "s"} most to ${seconds(start)} to ${seconds(end)} with ${name}: ${(100 * row[best]).toFixed(1)} % of the attention, where an even spread is ${(100 * even).toFixed(1)} %.`
      : "There are no words that could attend to the video.";
  }

  function marked(list, others) { // words as text, those among `others` marked
    const set = new Set(others);
    return list.flatMap((word, i) => {
      const element = document.createElement(set.has(i) ? "span" : "i");
      element.className = set.has(i) ? "other" : "";
      element.textContent = word;
      return [element, " "];
    });
  }

  function card(title, score, list, others, chosen) {
    const box = document.createElement("article");
    const head = document.createElement("h4");
    const text = document.createElement("p");
    head.append(title);
    if (score !== null) head.append(Object.assign(document.createElement("span"), { className: "rouge", textContent: score.toFixed(1), title: "ROUGE-L" }));
    text.append(...(list.length ? marked(list, others) : ["(empty)"]));
    box.className = chosen ? "chosen" : "";
    box.append(head, text);
    return box;
  }

  function tell(player) {
    const { example, names, shown, strategy, run } = player;
    const cards = names.map((name) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: shown[name] });
      button.dataset.name = name;
      button.style.setProperty("--own", styles[name][0]);
      button.setAttribute("aria-pressed", String(name === strategy));
      const { summary, other, rouge } = example.runs[name];
      return card(button, rouge, summary, other, name === strategy);
    });
    const again = player.find(".summaries button:focus")?.dataset.name; // what is replaced loses the focus
    player.find(".summaries").replaceChildren(card("Reference", null, example.reference, run.lacks, false), ...cards);
    if (again) player.find(`.summaries button[data-name="${again}"]`).focus();
  }

  function moved(player) { // words that look at what the video shows now
    const table = tables[player.strategy];
    if (!table || !words.length) return;
    const clips = table.length / words.length;
    const clip = Math.min(Math.floor(player.time / player.example.clip_len), clips - 1);
    const values = words.map((_, i) => table[i * clips + clip]);
    const least = Math.max([...values].sort((a, b) => b - a)[Math.min(UNDERLINED, words.length) - 1], 1.2 / clips);
    words.forEach((word, i) => word.classList.toggle("now", values[i] >= least));
  }

  function listen(player) {
    const transcript = player.find(".words");
    const place = (event) => words.indexOf(event.target);
    const point = (word) => { if (word !== pointed) { pointed = word; player.draw(); } };
    const hold = (word) => {
      held = word === held ? null : word;
      words.forEach((element, i) => element.setAttribute("aria-selected", String(i === held)));
      player.draw();
    };
    transcript.addEventListener("pointerover", (event) => point(place(event) < 0 ? null : place(event)));
    transcript.addEventListener("pointerleave", () => point(null));
    transcript.addEventListener("focusin", (event) => point(place(event) < 0 ? null : place(event)));
    transcript.addEventListener("focusout", () => point(null));
    transcript.addEventListener("click", (event) => { if (place(event) >= 0) hold(place(event)); });
    transcript.addEventListener("keydown", (event) => {
      const i = place(event);
      const next = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: words.length - 1 }[event.key];
      if (i < 0) return;
      if (next !== undefined) {
        const word = Math.min(Math.max(next, 0), words.length - 1);
        words.forEach((element, j) => { element.tabIndex = j === word ? 0 : -1; });
        words[word].focus();
      } else if (event.key === "Enter" || event.key === " ") hold(i);
      else if (event.key === "Escape") hold(held);
      else return;
      event.preventDefault();
    });
    player.find(".summaries").addEventListener("click", (event) => { if (event.target.dataset.name) player.choose(event.target.dataset.name); });
  }

  listen(new Player("summarization", { opened, lanes, moved, chosen: tell, start: () => 0 }));
}

if (document.querySelector('.player-of[data-task="summarization"]')) startSummarization();
