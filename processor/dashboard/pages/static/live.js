// @ts-check
// Shows what is new without being asked. The server says when something may have changed (/changes); then this page is
// asked for again, and what differs in it is put in place. Without this file every page works, and stays as it was.

import "./columns.js";
import { listen } from "./listening.js";
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
const DATABASE = "The database does not answer";
const SERVER = "The server does not answer";
const RELEASE = new URL(import.meta.url).search;
/** Browsers that can't tell open lists find none. */
const OPEN = CSS.supports("selector(select:open)") ? "select:open" : "select.open";

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
/** Why nobody tells this page what is new, or who does not answer; empty while all is well. */
let wrong = "";
/** What ends it that this page is told. @type {(() => void) | null} */
let stop = null;
let again = 0;
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

/**
 * What is shown is old. A page that is about a failure has nothing that could be.
 * @param {string} why
 */
function old(why) {
  const failed = document.querySelector("main [data-failure]") !== null;
  tell(`${why}${failed ? "." : ": what is shown is what it was."} It is tried again.`);
}

/**
 * Whether the reader holds something that a change would take away: a brush, a list that is open, whose places would
 * move below the pointer, a selection that is made or copied.
 */
function held() {
  if (document.documentElement.dataset.held !== undefined || document.querySelector(OPEN) !== null) return true;
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
    const failed = answer.status >= 500;
    // what a proxy says while the dashboard is away is no page of ours
    if (failed) old(answer.status === 503 && text.includes("data-failure") ? DATABASE : answers(answer.status));
    else show(text, answer.headers.get("etag") ?? "");
    if (last !== wanted) settling = setTimeout(settle, SETTLED);
    seen = last = failed ? "" : wanted;
  } catch {
    old(SERVER);
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

/** @param {number} status */
function answers(status) {
  return `The server answers ${status}`;
}

/**
 * @param {string} text
 * @param {string} etag
 */
function show(text, etag) {
  // an answer that was under way when its server went is none that it is back
  if (wrong) old(wrong);
  else tell("");
  tag = etag;
  if (text === shown) return;
  shown = text;
  const page = new DOMParser().parseFromString(text, "text/html");
  const [here, there] = [document.querySelector("main"), page.querySelector("main")];
  if (here === null || there === null) return;
  // a page about a failure has become the page that was asked for: what that is drawn with is not here
  const files = needs(document);
  if (needs(page).some((file) => !files.includes(file))) return location.reload();
  document.title = page.title;
  patch(here, there);
  document.dispatchEvent(new Event("shown"));
}

/**
 * The style sheets and scripts of a page, whichever release they are of.
 * @param {Document} page
 */
function needs(page) {
  const found = [...page.head.querySelectorAll("link[rel=stylesheet], script[src]")];
  return found.map((one) => (one.getAttribute("href") ?? one.getAttribute("src") ?? "").split("?")[0]);
}

/** While the page is seen. */
function watch() {
  clearTimeout(again);
  if (document.hidden) rest();
  else if (stop === null) stop = listen(hear, RELEASE);
  plan();
}

function rest() {
  stop?.();
  stop = null;
}

/** @type {import("./listening.js").Hear} */
function hear(kind, data) {
  if (kind === "lost") {
    wrong = SERVER;
    return old(wrong);
  }
  if (kind === "ended") {
    rest();
    again = setTimeout(watch, AGAIN);
    return why();
  }
  wrong = kind === "away" ? DATABASE : "";
  if (wrong) {
    old(wrong);
    version ??= "";
    seen = "";
    return;
  }
  // also at first: something may have come between this page and this line
  version = data;
  if (!banner.hidden) seen = "";
  if (paused) tell("");
  plan();
}

/** The browser does not say why a stream was refused: that is asked for. */
async function why() {
  const ended = new AbortController();
  try {
    const answer = await fetch("/changes", { signal: ended.signal, cache: "no-store", credentials: "same-origin" });
    if (answer.ok) wrong = "The server has ended the connection";
    else wrong = reason(await answer.text()) || answers(answer.status);
  } catch {
    wrong = SERVER;
  }
  ended.abort();
  if (stop === null && !document.hidden) old(wrong);
}

/** @param {string} text */
function reason(text) {
  const said = new DOMParser().parseFromString(text, "text/html").querySelector("[data-failure] ~ .problem");
  return (said?.textContent ?? "").replace(/[.\s]+$/, "");
}

// a page that was kept as it was left: its forms say what it shows, not what was chosen and asked of another page
addEventListener("pageshow", (event) => {
  if (event.persisted) for (const form of document.forms) form.reset();
});
document.addEventListener("click", (event) => {
  const mark = event.target instanceof Element ? event.target.closest("svg .mark") : null;
  const href = mark?.getAttribute("data-href");
  if (href?.startsWith("/")) location.assign(href);
});
document.documentElement.classList.add("live-links");

if (document.querySelector("[data-snapshot]") === null) {
  say();
  document.addEventListener("visibilitychange", watch);
  addEventListener("pagehide", rest);
  addEventListener("pageshow", watch);
  watch();
} else {
  button.remove();
}
