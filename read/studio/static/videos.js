// The list of videos: only the rows in sight exist, and thumbnails are asked for when a row stays in sight.
import { ask, find, make, on, say } from "./common.js";
import { hear, labelsOf, studio, videos } from "./model.js";
import { clock } from "./ruler.js";

const ROW = 84; // pixels, as in studio.css
const PICTURES = 8; // of a thumbnail's strip
const AGAIN = 1500; // milliseconds until a thumbnail that was not there is asked for again
const SETTLED = 120; // milliseconds a row is in sight before its thumbnail is asked for
const [scroller, space] = [find("video-list"), find("video-space")];
const rows = new Map(); // by index
let listed = []; // vids in the order shown
let current = null; // the vid that is open
let why = new Map(); // by vid: why it would teach most
let open = () => {};

export const onOpen = (act) => { open = act; };
export const beside = (by) => listed[listed.indexOf(current) + by];
export const first = () => listed[0];
const pictureOf = (vid) => `api/videos/${encodeURIComponent(vid)}/thumbnail?of=${videos.get(vid).key}`;
const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const names = new Intl.Collator(undefined, { numeric: true });

export function about(video) { // what a row says below the name
  const said = [labelsOf(video.vid).length ? many(labelsOf(video.vid).length, "sentence") : "not labelled"];
  if (video.side) said.push(video.side === "test" ? "test side" : "train side");
  return said.join(" · ");
}

function note(video) {
  if (video.state === "failed") return video.error ?? "could not be read";
  if (find("order").value === "teach" && why.has(video.vid)) return why.get(video.vid);
  if (video.twins?.length) return `nearly the same as ${video.twins.map((vid) => videos.get(vid)?.file ?? vid).join(", ")}`;
  return video.state === "unread" ? "is being looked at …" : "";
}

function row(index) {
  const picture = make("img", { alt: "", hidden: "" });
  const element = make("div", { role: "option", class: "video" }, make("span", { class: "thumb" }, picture, make("i"), make("b")),
    make("span", { class: "words" }, make("span", { class: "name" }), make("span", { class: "note" }), make("span", { class: "note why" })));
  picture.addEventListener("load", () => { picture.hidden = false; });
  picture.addEventListener("error", () => { // not made yet; to be asked for is what makes it
    const { vid } = element.dataset;
    picture.hidden = true;
    if (videos.get(vid)?.state === "failed") return;
    setTimeout(() => { if (element.isConnected && videos.has(vid) && element.dataset.vid === vid) picture.src = `${pictureOf(vid)}&again=${Date.now()}`; }, AGAIN);
  });
  const thumb = element.firstChild;
  const scrub = (share) => {
    thumb.style.setProperty("--picture", Math.min(Math.floor(share * PICTURES), PICTURES - 1));
    thumb.style.setProperty("--share", share);
  };
  thumb.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") scrub(event.offsetX / thumb.clientWidth); });
  thumb.addEventListener("pointerleave", () => { thumb.style.removeProperty("--picture"); thumb.style.removeProperty("--share"); });
  element.addEventListener("click", () => open(listed[element.index]));
  element.index = index;
  return element;
}

function write(element, index) {
  const video = videos.get(listed[index]);
  const [name, told, reason] = element.querySelectorAll(".name, .note");
  if (element.dataset.vid !== video.vid || element.dataset.key !== video.key) {
    Object.assign(element.dataset, { vid: video.vid, key: video.key });
    const picture = element.querySelector("img");
    picture.hidden = true;
    picture.removeAttribute("src");
  }
  element.querySelector("b").textContent = video.seconds ? clock(video.seconds) : "";
  name.textContent = name.title = video.file;
  told.textContent = about(video);
  reason.textContent = reason.title = note(video);
  reason.classList.toggle("warn", video.state === "failed");
  Object.assign(element, { id: `video-${index}`, index });
  element.style.transform = `translateY(${index * ROW}px)`;
  element.setAttribute("aria-setsize", listed.length);
  element.setAttribute("aria-posinset", index + 1);
  element.setAttribute("aria-selected", video.vid === current);
  element.classList.toggle("labelled", labelsOf(video.vid).length > 0);
}

let settling = null;
function paint() {
  const first = Math.max(Math.floor(scroller.scrollTop / ROW) - 3, 0);
  const last = Math.min(Math.ceil((scroller.scrollTop + scroller.clientHeight) / ROW) + 3, listed.length);
  const spare = [];
  for (const [index, element] of rows) if (index < first || index >= last) { rows.delete(index); spare.push(element); }
  for (let index = first; index < last; index += 1) {
    if (rows.has(index)) continue;
    const element = spare.pop() ?? row(index);
    rows.set(index, element);
    write(element, index);
    if (!element.parentNode) space.append(element);
  }
  for (const element of spare) element.remove();
  clearTimeout(settling);
  settling = setTimeout(() => {
    for (const picture of space.querySelectorAll("img:not([src])")) picture.src = pictureOf(picture.closest(".video").dataset.vid);
  }, SETTLED);
}

function rewrite(changed) { // what is in sight, where it changed
  for (const [index, element] of rows) if (!changed || changed.has(listed[index])) write(element, index);
}

function count() {
  const labelled = [...videos.keys()].filter((vid) => labelsOf(vid).length).length;
  find("video-count").textContent = !videos.size ? "" : `${listed.length === videos.size ? many(videos.size, "video") : `${listed.length} of ${many(videos.size, "video")}`}, ${labelled} labelled`;
}

export function arrange() {
  const wanted = find("filter").value.trim().toLowerCase();
  const order = find("order").value;
  listed = [...videos.values()].filter(({ file }) => file.toLowerCase().includes(wanted)).sort((a, b) => names.compare(a.file, b.file)).map(({ vid }) => vid);
  const rank = order === "teach" ? [...why.keys()] : [];
  const places = new Map(rank.map((vid, place) => [vid, place]));
  if (order === "teach") listed.sort((a, b) => (places.get(a) ?? Infinity) - (places.get(b) ?? Infinity) || 0);
  if (order === "bare") listed.sort((a, b) => (labelsOf(a).length > 0) - (labelsOf(b).length > 0));
  space.style.height = `${listed.length * ROW}px`;
  for (const element of rows.values()) element.remove();
  rows.clear();
  find("video-none").textContent = listed.length ? "" : videos.size ? "No video has this in its name." : "No videos yet.";
  scroller.hidden = !listed.length;
  document.body.classList.toggle("bare", !videos.size);
  paint();
  point();
  count();
}

function point() { // what a screen reader says of the list
  const index = listed.indexOf(current);
  if (rows.has(index)) scroller.setAttribute("aria-activedescendant", `video-${index}`); else scroller.removeAttribute("aria-activedescendant");
}

export function mark(vid) { // the video that is open
  current = vid;
  const index = listed.indexOf(vid);
  const { scrollTop, clientHeight } = scroller;
  if (index >= 0 && index * ROW < scrollTop) scroller.scrollTop = index * ROW;
  else if (index >= 0 && (index + 1) * ROW > scrollTop + clientHeight) scroller.scrollTop = (index + 1) * ROW - clientHeight;
  paint();
  rewrite();
  point();
}

async function teach() { // asked anew each time: labels and the model change it
  try {
    const { by, order } = await ask("api/order");
    why = new Map(order.map(({ vid, why: reason }) => [vid, reason]));
    find("order-by").textContent = `By ${{ bundle: "what your trained model doubts and has not seen the like of", encoder: "what is unlike the labelled ones" }[by] ?? "looks: nothing else is known yet"}. Where it was measured, it taught no more than an order by chance.`;
  } catch (error) {
    say(error.message);
    find("order").value = "bare";
  }
  arrange();
}

on("video-list", "scroll", () => { paint(); point(); });
on("video-list", "keydown", (event) => {
  const page = Math.max(Math.floor(scroller.clientHeight / ROW), 1);
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -listed.length, End: listed.length };
  if (!(event.key in moves) || !listed.length) return;
  event.preventDefault();
  const index = listed.indexOf(current);
  open(listed[Math.min(Math.max((index < 0 ? -1 : index) + moves[event.key], 0), listed.length - 1)]);
});
new ResizeObserver(paint).observe(scroller);
on("filter", "input", arrange);
on("order", "change", ({ target }) => {
  find("order-by").textContent = "";
  if (target.value === "teach") teach(); else arrange();
});
hear("videos", (changed) => { if ([...changed].every((vid) => listed.includes(vid) && videos.has(vid))) rewrite(changed); else arrange(); });
hear("labels", () => { rewrite(); count(); });
