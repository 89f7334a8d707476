// The page at /docs: Swagger UI with the server's OpenAPI document and the key of this tab.
import { keyHeaders } from "./api.js";
import { byId } from "./dom.js";

const root = byId("swagger");
const dark = matchMedia("(prefers-color-scheme: dark)");
const adapt = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", adapt);
adapt();

// What Swagger UI leaves out for screen readers: [elements, attributes].
const REPAIRS = [
  [".information-container", { role: "region", "aria-label": "Description" }],
  [".scheme-container", { role: "region", "aria-label": "Key" }],
  ["h3.opblock-tag", { "aria-level": "2", role: "heading" }],
  ["h4", { "aria-level": "3", role: "heading" }],
  ["h5", { "aria-level": "4", role: "heading" }],
  [".servers select", { "aria-label": "Server" }],
  ["textarea:not([aria-label])", { "aria-label": "Request body" }],
];

function repair() {
  for (const [selector, attributes] of REPAIRS) {
    for (const element of root.querySelectorAll(selector)) {
      for (const [name, value] of Object.entries(attributes)) {
        if (element.getAttribute(name) !== value) element.setAttribute(name, value);
      }
    }
  }
}

new MutationObserver(repair).observe(root, { childList: true, subtree: true });
window.SwaggerUIBundle({
  domNode: root,
  url: "./openapi.json",
  // Neither an online validator nor a URL of another document.
  validatorUrl: null,
  queryConfigEnabled: false,
  defaultModelsExpandDepth: 0,
  requestInterceptor: (request) => {
    if (!request.headers["X-API-Key"]) Object.assign(request.headers, keyHeaders());
    return request;
  },
});
