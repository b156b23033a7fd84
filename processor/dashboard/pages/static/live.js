// @ts-check
// Shows what is new without being asked. The server says when something may have changed (/changes); then this page is
// asked for again, and what differs in it is put in place. Without this file every page works, and stays as it was.

import { patch } from "./patching.js";

/** Milliseconds between two requests: at least so long, and as long as the last one took; ten times as long if dear. */
const LEAST = 300;
const TIMES = 10;
const DEAR = 500;
/** After the last news: answers that are dear are held for ten seconds at the most, and may have been older. */
const SETTLED = 12000;
/** After the server has refused to be watched, or went away for good. */
const AGAIN = 30000;
const KEPT = "paused";

/** @type {string | null} */
let version = null;
let shown = "";
let tag = "";
let busy = false;
let next = 0;
let timer = 0;
let settling = 0;
let seen = "";
/** What was asked for before: a version is asked for twice, the second time when nothing of it is held any more. */
let last = "";
let paused = sessionStorage.getItem(KEPT) === "yes";

// for browsers whose style sheets can't look ahead: by now what was waited for is there
document.querySelector(".waiting")?.remove();

const banner = document.createElement("p");
banner.className = "warning";
banner.setAttribute("role", "status");
banner.hidden = true;
document.querySelector("main")?.before(banner);

const button = document.createElement("button");
button.type = "button";
button.id = "pause";
document.querySelector("footer")?.prepend(button);
button.addEventListener("click", () => {
  paused = !paused;
  sessionStorage.setItem(KEPT, paused ? "yes" : "no");
  say();
  plan();
});

function say() {
  button.textContent = paused ? "Show what is new as it comes" : "Stop showing what is new";
}

/** @param {string} words */
function tell(words) {
  if (banner.textContent !== words) banner.textContent = words;
  banner.hidden = words === "";
}

/** Whether the reader holds something that a change would take away: a brush, a selection that is made or copied. */
function held() {
  if (document.documentElement.dataset.held !== undefined) return true;
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && document.querySelector("main")?.contains(selection.anchorNode);
}

function plan() {
  clearTimeout(timer);
  if (version === null || version === seen || paused || document.hidden || busy) return;
  timer = setTimeout(held() ? plan : refresh, Math.max(held() ? LEAST : 0, next - performance.now()));
}

async function refresh() {
  if (held() || busy) return plan();
  busy = true;
  clearTimeout(settling);
  const wanted = /** @type {string} */ (version);
  const began = performance.now();
  try {
    /** @type {Record<string, string>} */
    const headers = { "x-version": wanted };
    if (tag) headers["if-none-match"] = tag;
    const answer = await fetch(location.href.split("#")[0], { headers, cache: "no-store", credentials: "same-origin" });
    const text = answer.status === 304 ? shown : await answer.text();
    if (held()) return;
    if (answer.status === 503) tell("The database does not answer: what is shown is what it was. It is tried again.");
    else show(text, answer.headers.get("etag") ?? "");
    if (last !== wanted) settling = setTimeout(settle, SETTLED);
    seen = last = answer.status === 503 ? "" : wanted;
  } catch {
    tell("The server does not answer: what is shown is what it was. It is tried again.");
  } finally {
    busy = false;
    const took = performance.now() - began;
    next = performance.now() + Math.max(LEAST, took < DEAR ? took : TIMES * took, seen === wanted ? 0 : 2000);
    plan();
  }
}

function settle() {
  seen = "";
  plan();
}

/**
 * @param {string} text
 * @param {string} etag
 */
function show(text, etag) {
  tell("");
  tag = etag;
  if (text === shown) return;
  shown = text;
  const page = new DOMParser().parseFromString(text, "text/html");
  const [here, there] = [document.querySelector("main"), page.querySelector("main")];
  if (here === null || there === null) return;
  document.title = page.title;
  patch(here, there);
  document.dispatchEvent(new Event("shown"));
}

function watch() {
  const source = new EventSource("/changes");
  source.addEventListener("changed", (event) => {
    // also at first: something may have come between this page and this line
    version = event.data;
    if (!banner.hidden) seen = "";
    if (paused) tell("");
    plan();
  });
  source.addEventListener("away", () => {
    tell("The database does not answer: what is shown is what it was. It goes on by itself.");
    if (version === null) version = "";
    seen = "";
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) {
      tell("The server does not answer: what is shown is what it was. It goes on by itself.");
      return;
    }
    tell("");
    setTimeout(watch, AGAIN);
  });
}

document.addEventListener("visibilitychange", plan);
document.addEventListener("click", (event) => {
  const mark = event.target instanceof Element ? event.target.closest("svg .mark") : null;
  const href = mark?.getAttribute("data-href");
  if (href?.startsWith("/")) location.assign(href);
});
document.documentElement.classList.add("live-links");

if (document.querySelector("[data-snapshot]") === null) {
  say();
  watch();
} else {
  button.remove();
}
