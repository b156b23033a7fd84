// @ts-check
// Runs once for all windows of a browser: holds the one stream by which they are told what is new, as long as one of
// them is seen. Browsers keep six connections to a server over plain HTTP; with a stream each the seventh window hung.

/** A window that was not heard of for so many milliseconds is gone: it says `watch` again and again. */
const GONE = 90000;

/** By window: when it was heard of. @type {Map<MessagePort, number>} */
const watching = new Map();
/** @type {EventSource | null} */
let source = null;
/** What was told last, for who comes later. @type {{ kind: string, data: string } | null} */
let last = null;

/**
 * @param {string} kind
 * @param {string} data
 */
function tell(kind, data) {
  last = { kind, data };
  for (const port of watching.keys()) port.postMessage(last);
}

function open() {
  const stream = (source = new EventSource("/changes"));
  stream.addEventListener("changed", (event) => tell("changed", event.data));
  stream.addEventListener("away", () => tell("away", ""));
  stream.addEventListener("error", () => {
    const ended = stream.readyState === EventSource.CLOSED;
    tell(ended ? "ended" : "lost", "");
    if (ended) close();
  });
}

function close() {
  source?.close();
  source = last = null;
}

/** @param {MessagePort} port */
function watch(port) {
  if (!watching.has(port) && last !== null) port.postMessage(last);
  watching.set(port, Date.now());
  port.postMessage({ kind: "here", data: "" });
  if (source === null) open();
}

setInterval(() => {
  for (const [port, heard] of watching) if (Date.now() - heard > GONE) watching.delete(port);
  if (watching.size === 0) close();
}, GONE);

addEventListener("connect", (event) => {
  const [port] = /** @type {MessageEvent} */ (event).ports;
  port.addEventListener("message", ({ data }) => {
    if (data === "watch") return watch(port);
    watching.delete(port);
    if (watching.size === 0) close();
  });
  port.start();
});
