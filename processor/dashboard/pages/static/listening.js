// @ts-check
// How a page hears of what is new: by the stream that all windows of the browser share, or by one of its own where
// they can't share one, or where who holds it is heard of no more.

/** Milliseconds in which the holder of the shared stream is to answer, and between two questions whether it is there. */
const PATIENCE = 8000;
const BEAT = 20000;

/**
 * `hear` is told `changed` with the version, `away` (the database), `lost` (the server; it is tried again) and `ended`.
 * @typedef {(kind: string, data: string) => void} Hear
 */

/** @type {SharedWorker | null} */
let worker = null;
/** One that died is started again by whoever notices first, for all; one that can't be started is not. */
let tries = "SharedWorker" in globalThis ? 2 : 0;

/**
 * @param {Hear} hear
 * @param {string} release pages of another one have a holder of their own
 * @returns {() => void} what ends it
 */
export function listen(hear, release) {
  return tries > 0 ? shared(hear, release) : alone(hear);
}

/**
 * @param {Hear} hear
 * @param {string} release
 */
function shared(hear, release) {
  const held = (worker ??= new SharedWorker(new URL(`./shared.js${release}`, import.meta.url)));
  const { port } = held;
  let end = stop;
  let waits = setTimeout(fall, PATIENCE);
  const beats = setInterval(() => {
    port.postMessage("watch");
    clearTimeout(waits);
    waits = setTimeout(fall, PATIENCE);
  }, BEAT);

  /** @param {MessageEvent} event */
  function take({ data: { kind, data } }) {
    clearTimeout(waits);
    tries = 2;
    if (kind !== "here") hear(kind, data);
  }

  function stop() {
    clearTimeout(waits);
    clearInterval(beats);
    port.removeEventListener("message", take);
    held.removeEventListener("error", fall);
    port.postMessage("leave");
  }

  /** It could not be started, or is gone. */
  function fall() {
    stop();
    worker = null;
    tries -= 1;
    end = listen(hear, release);
  }

  port.addEventListener("message", take);
  held.addEventListener("error", fall);
  port.start();
  port.postMessage("watch");
  return () => end();
}

/** @param {Hear} hear */
function alone(hear) {
  const stream = new EventSource("/changes");
  stream.addEventListener("changed", (event) => hear("changed", event.data));
  stream.addEventListener("away", () => hear("away", ""));
  stream.addEventListener("error", () => hear(stream.readyState === EventSource.CLOSED ? "ended" : "lost", ""));
  return () => stream.close();
}
