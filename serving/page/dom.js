// Elements, numbers and messages that all pages share. No page ever parses text as markup.

/** Make an element. `props` are attributes; `on…` functions are listeners, `text` is its text; null leaves one out. */
export function element(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** The element with an id. */
export const byId = (id) => document.getElementById(id);

/** Write a message into the live region with an id (role "status" or "alert"); "" empties it. */
export function say(id, message, isError = false) {
  const region = byId(id);
  region.classList.toggle("error", isError && message !== "");
  region.textContent = message;
}

/** Say in the status line that the page waits for the server, after an error. */
export const sayWaiting = (error) => say("status", `${error.message} This page tries again.`, true);

/** A probability as "92.7%". */
export const percent = (value) => `${(100 * value).toFixed(1)}%`;

/** A number with its sign, as "+0.123" or "−0.123". */
export function signed(value, digits = 3) {
  const text = Math.abs(value).toFixed(digits);
  return `${Number(text) === 0 ? "±" : value < 0 ? "−" : "+"}${text}`;
}

/** Seconds since the epoch, or an ISO time, as "2026-11-30 18:40 UTC". */
export function time(moment) {
  const date = new Date(typeof moment === "number" ? 1000 * moment : moment);
  return Number.isNaN(date.getTime()) ? "" : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** A function that calls `action` once no call came for `milliseconds`; `.cancel()` drops the waiting call. */
export function debounced(action, milliseconds) {
  let timer = 0;
  const later = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds, ...values);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

/** Offer text to save as a file. */
export function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
