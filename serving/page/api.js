// Calls of the server's API. The key is asked for once and kept in this tab.
import { element } from "./dom.js";

const KEY = "textclf-api-key";
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

/**
 * Send a request and return the JSON of the response. After a 401, ask for the key and send it again.
 *
 * call("/info"), call("/predict", { text }, { signal, headers })
 * Throws ApiError; an aborted request throws AbortError.
 */
export async function call(path, body, { signal, headers = {} } = {}) {
  for (;;) {
    if (needsKey && sessionStorage.getItem(KEY) === null && !(await askKey(false))) {
      throw new ApiError(401, "unauthorized", "The server needs its key, and none was given.");
    }
    const sent = keyHeaders();
    const response = await send(path, body, signal, { ...headers, ...sent });
    if (response.ok) return response.json();
    const error = await errorOf(response);
    if (response.status !== 401) throw error;
    // Another call may have got a key meanwhile.
    if (sessionStorage.getItem(KEY) === (sent["X-API-Key"] ?? null)) {
      sessionStorage.removeItem(KEY);
      if (!(await askKey("X-API-Key" in sent))) throw error;
    }
  }
}

async function send(path, body, signal, headers) {
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, { ...options, headers, signal, cache: "no-store", credentials: "same-origin" });
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
 * try. If the server needs a key, the user is asked for it at once, and not while typing; later calls ask again if none
 * was given.
 */
export async function serverInfo(onWait) {
  const info = await infoOnceReady(onWait);
  needsKey = info.api_key;
  if (needsKey && sessionStorage.getItem(KEY) === null) await askKey(false);
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

let asking = null;

// One dialog for all calls that wait for the key.
function askKey(wasWrong) {
  asking ??= new Promise((resolve) => {
    const input = element("input", {
      id: "api-key", type: "password", autocomplete: "off", required: true, "aria-describedby": "api-key-note",
    });
    const note = wasWrong ? "The server refused the key. Enter another one." : "The server needs its key (API_KEY).";
    const dialog = element("dialog", { "aria-labelledby": "api-key-title" },
      element("form", { method: "dialog" },
        element("h2", { id: "api-key-title", text: "API key" }),
        element("p", { id: "api-key-note", class: wasWrong ? "error" : "", text: `${note} It stays in this tab only.` }),
        element("label", { for: "api-key", text: "Key" }), input,
        element("div", { class: "row" },
          element("button", { class: "primary", value: "use", text: "Use the key" }),
          element("button", { value: "cancel", formnovalidate: true, text: "Cancel" }))));
    dialog.addEventListener("close", () => {
      const key = input.value.trim();
      const isGiven = dialog.returnValue === "use" && key !== "";
      if (isGiven) sessionStorage.setItem(KEY, key);
      dialog.remove();
      asking = null;
      resolve(isGiven);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}
