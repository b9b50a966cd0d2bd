// The player: one video, its steps, and what stands there while a browser cannot play it yet.
import { ask, call, find, on, say } from "./common.js";
import { hear, studio, videos } from "./model.js";
import { toggle } from "./ruler.js";

const AGAIN = 2000; // milliseconds until a video is asked for again
export const player = find("player");
let vid = null;
let frame = null; // seconds; measured as soon as the video plays
let asked = null; // the vid for which a copy was asked

export const current = () => videos.get(vid) ?? null;
export const address = (part) => `api/videos/${encodeURIComponent(vid)}${part}`;
export const duration = () => current()?.seconds ?? (Number.isFinite(player.duration) ? player.duration : 0);

export function open(to) {
  vid = to;
  frame = null;
  show();
}

async function want() { // a copy that browsers play
  if (asked === vid) return;
  asked = vid;
  try {
    await ask(address("/show"), "POST", {});
  } catch (error) {
    asked = null;
    say(error.message);
  }
}

function show() {
  const video = current();
  const plays = !!video?.playable;
  player.hidden = !plays;
  find("blank").hidden = plays;
  const source = plays ? `${address("/file")}?of=${video.key}` : null; // another file of the same name is another video
  if (source !== player.getAttribute("src")) {
    if (source) player.src = source; else { player.removeAttribute("src"); player.load(); }
  }
  if (plays) return;
  find("blank").textContent = !videos.size ? `No videos in this folder yet. Put some into ${studio.folder}; they show up here.` : !video ? "Choose a video." : video.state === "failed" ? video.error ?? "This file could not be read as a video."
    : video.state === "unread" ? "The file is being looked at …" : "A copy that browsers play is being made …";
  if (video && video.state !== "failed") want();
}
hear("videos", (changed) => { if (!vid || changed.has(vid)) show(); });

let doubted = null; // what did not play although the server has it
player.addEventListener("error", async () => {
  const [source, at] = [player.getAttribute("src"), player.currentTime];
  if (!source) return;
  const there = await call(source, { method: "HEAD" }).then(() => true, () => false);
  if (there && doubted === source) return say(`${current()?.file}: your browser does not play this file.`);
  doubted = there ? source : null;
  setTimeout(() => { // the server was away, or is another one by now
    if (player.getAttribute("src") !== source) return;
    player.load();
    player.currentTime = at;
  }, there ? 0 : AGAIN);
});

if (player.requestVideoFrameCallback) {
  let last = Infinity;
  const look = (_, { mediaTime }) => {
    const step = mediaTime - last; // frames that the browser left out make it longer, never shorter
    if (!player.paused && step > 1 / 130 && step < Math.min(frame ?? 1, 1 / 4)) frame = step;
    last = mediaTime;
    player.requestVideoFrameCallback(look);
  };
  player.requestVideoFrameCallback(look);
}

for (const [type, word] of [["play", "Pause"], ["pause", "Play"]]) player.addEventListener(type, () => { find("play").textContent = word; });
player.addEventListener("click", () => { if (!player.controls) play(); });
on("speed", "change", ({ target }) => { player.defaultPlaybackRate = player.playbackRate = Number(target.value); });
export const play = () => { if (player.getAttribute("src")) toggle(player); };
export function step(by, one = false) { // a clip, or one frame
  if (!player.getAttribute("src")) return;
  player.pause();
  player.currentTime = Math.min(Math.max(player.currentTime + by * (one ? frame ?? 1 / 25 : studio.clip_len), 0), duration());
}
