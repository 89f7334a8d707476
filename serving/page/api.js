// Calls of the server's API. The key is asked for once and kept in this tab.
import { byId, element, say } from "./dom.js";

const KEY = "textclf-api-key";
const UNKEYED = "no_key";
/** Header of requests that are not traffic: half-typed texts must not count in drift monitoring. */
export const TRIAL = { "X-Prediction-Log": "off" };

/** An error of the API: HTTP status (0 without a response), code, message, seconds until another try. */
export class ApiError extends Error {
  constructor(status, code, message, retryAfter = 0) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }
}

/** Headers with the key of this tab; {} without one. */
export function keyHeaders() {
  const key = sessionStorage.getItem(KEY);
  return key ? { "X-API-Key": key } : {};
}

const hasKey = () => sessionStorage.getItem(KEY) !== null;

/** The error of a request without the key that the server needs; null if there is a key, or none is needed. */
export function keyError() {
  return needsKey && !hasKey() ? new ApiError(401, UNKEYED, "The server needs its key, and none was given.") : null;
}

/** Say an error in the live region with an id. If a key is missing, a button asks for it, then `retry` runs. */
export function sayError(id, error, retry = () => {}) {
  const region = byId(id);
  // While the user types, the same line stays, and a screen reader reads it once.
  if (error.code === UNKEYED && region.querySelector("button") && region.textContent.startsWith(error.message)) return;
  say(id, error.message, true);
  if (error.code !== UNKEYED) return;
  const enter = async () => {
    if (!hasKey() && !(await askKey(false))) return;
    byId("main").focus();
    say(id, "");
    retry();
  };
  region.append(" ", element("button", { text: "Enter key", onclick: enter }));
}

/**
 * Send a request and return the JSON of the response. After a 401, ask for the key and send it again.
 *
 * call("/info"), call("/predict", { text }, { signal, headers })
 * Throws ApiError; an aborted request throws AbortError.
 */
export async function call(path, body, { signal, headers = {} } = {}) {
  for (;;) {
    if (asking) await asking;
    const missing = keyError();
    if (missing) throw missing;
    const sent = keyHeaders();
    const response = await send(path, body, signal, { ...headers, ...sent });
    if (response.ok) return response.json();
    const error = await errorOf(response);
    if (response.status !== 401) throw error;
    needsKey = true;
    // Another call may have got a key meanwhile.
    if (sessionStorage.getItem(KEY) === (sent["X-API-Key"] ?? null)) {
      sessionStorage.removeItem(KEY);
      if (!(await askKey("X-API-Key" in sent))) throw keyError();
    }
  }
}

async function send(path, body, signal, headers) {
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    // Relative to the page, so that it works behind a gateway that adds a prefix to all paths.
    return await fetch(`.${path}`, { ...options, headers, signal, cache: "no-store", credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "no_response", "The server does not respond. Check that it runs, then try again.");
  }
}

async function errorOf(response) {
  let code = `http_${response.status}`;
  let message = `The server answered with status ${response.status}.`;
  try {
    ({ code, message } = (await response.json()).error);
  } catch {
    // Another program, such as a proxy, may answer without JSON.
  }
  return new ApiError(response.status, code, message, Number(response.headers.get("Retry-After")) || 0);
}

let needsKey = false;

// Statuses of a server that starts, is busy, or can't be reached.
const PASSING = new Set([0, 429, 502, 503, 504]);

/**
 * What the server serves: the response of /info, once the server gives it; `onWait` gets each error before another
 * try. If the server needs a key, the user is asked for it at once, and not while typing. Later calls fail without one.
 */
export async function serverInfo(onWait) {
  const info = await infoOnceReady(onWait);
  needsKey = info.api_key;
  if (needsKey && !hasKey()) await askKey(false);
  return info;
}

async function infoOnceReady(onWait) {
  for (;;) {
    try {
      return await call("/info");
    } catch (error) {
      if (!PASSING.has(error.status)) throw error;
      onWait(error);
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.max(1, error.retryAfter)));
    }
  }
}

/** Why a key can't be used, or "". A server that is busy can't check it; a later request does. */
async function problemOf(key) {
  // API_KEY has such characters only, and the browser refuses to send others.
  if (!/^[!-~]+$/.test(key)) {
    const odd = /[^!-~]/u.exec(key);
    const found = odd ? (/\s/.test(odd[0]) ? "a blank" : odd[0]) : "nothing";
    return `A key has ASCII letters, digits and signs without blanks; this one has ${found}. Check it, then enter it again.`;
  }
  try {
    const response = await send("/predict", { text: "" }, undefined, { ...TRIAL, "X-API-Key": key });
    return response.status === 401 ? "The server refused the key. Enter another one." : "";
  } catch (error) {
    return error.message;
  }
}

let asking = null;

// One dialog for all calls that wait for the key.
function askKey(wasWrong) {
  asking ??= new Promise((resolve) => {
    const input = element("input", { id: "api-key", type: "password", autocomplete: "off", "aria-describedby": "api-key-note" });
    const note = element("p", { id: "api-key-note", role: "status" });
    const tell = (message, isError) => {
      note.className = isError ? "error" : "";
      note.textContent = message;
    };
    if (wasWrong) tell("The server refused the key. Enter another one.", true);
    else tell("The server needs its key (API_KEY). It stays in this tab only.", false);
    const use = element("button", { class: "primary", text: "Use the key" });
    let isGiven = false;
    const dialog = element("dialog", { "aria-labelledby": "api-key-title" },
      element("form", {
        onsubmit: async (event) => {
          event.preventDefault();
          if (use.disabled) return;
          const key = input.value.trim();
          use.disabled = true;
          tell("Checking the key …", false);
          const problem = await problemOf(key);
          use.disabled = false;
          if (!dialog.open) return;
          if (problem) {
            tell(problem, true);
            input.select();
            return;
          }
          sessionStorage.setItem(KEY, key);
          isGiven = true;
          dialog.close();
        },
      },
      element("h2", { id: "api-key-title", text: "API key" }), note,
      element("label", { for: "api-key", text: "Key" }), input,
      element("div", { class: "row" }, use, element("button", { type: "button", text: "Cancel", onclick: () => dialog.close() }))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      asking = null;
      resolve(isGiven);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}
