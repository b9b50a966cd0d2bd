// What the pages share: asking the server, the alert, files to keep, buttons that wait, the theme.
export const find = (id) => document.getElementById(id);
export const on = (id, type, act) => find(id).addEventListener(type, act);

export function make(tag, attributes = {}, ...inside) { // an element with what is in it: text stays text
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(key, value);
  element.append(...inside);
  return element;
}

export function say(sentence) {
  find("alert").textContent = sentence ?? "";
  find("alert").hidden = !sentence;
}

let token = "";
let renew = null; // what makes this page known to a server that was started anew
export const identify = (told) => { token = told; };
export const onStranger = (act) => { renew = act; };

export class Refused extends Error { // `status` is 0 where nobody answered; `told` is what the server said
  constructor(sentence, status = 0, told = {}) {
    super(sentence);
    Object.assign(this, { status, told });
  }
}

export async function call(path, options = {}, known = !renew) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { "X-Token": token } });
  } catch {
    throw new Refused("The server does not answer; does it still run in its terminal?");
  }
  if (response.ok) return response;
  if (response.status === 403 && !known) {
    await renew();
    return call(path, options, true);
  }
  const told = await response.json().catch(() => ({}));
  throw new Refused(told.error ?? `The server answered with status ${response.status}.`, response.status, told);
}
export const ask = async (path, method = "GET", body = undefined) => (await call(path, { method, body: body && JSON.stringify(body) })).json();

export function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export const hold = (button, waits) => button.setAttribute("aria-disabled", waits); // a disabled button would lose the focus
export const held = (button) => button.getAttribute("aria-disabled") === "true";

export function remember(key, value) { // what a person chose for this browser; without `value`, what that was
  try {
    if (value !== undefined) localStorage.setItem(key, value);
    return localStorage.getItem(key);
  } catch { return value ?? null; /* forbidden: chosen for this visit */ }
}

const modes = ["auto", "light", "dark"];
function paint(mode) {
  document.documentElement.dataset.theme = mode;
  find("theme").textContent = `Theme: ${mode}`;
}
paint(modes.find((mode) => mode === remember("read-theme")) ?? "auto");
on("theme", "click", () => {
  paint(modes[(modes.indexOf(document.documentElement.dataset.theme) + 1) % modes.length]);
  remember("read-theme", document.documentElement.dataset.theme);
});
