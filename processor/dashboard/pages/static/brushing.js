// @ts-check
// Brushes: a band along an axis of a chart, or a rectangle across its marks, becomes conditions of the filter, and the
// page of that filter is asked for. All state is in the address; listeners are the document's, so that whatever an
// update puts in place of a chart can be brushed as well.

import { axisOf, joined, termsOf } from "./bounds.js";
import { arrive, leave } from "./returning.js";

/** @typedef {import("./bounds.js").Axis} Axis */
/** @typedef {{ axis: Axis, from: number, to: number }} Band */

/** Pixels that a pointer may tremble while it clicks, and those of a side too short to be meant. */
const TREMBLE = 4;
const MEANT = 8;
/** Steps of the arrow keys from end to end. */
const STEPS = 40;
const ARROWS = new Map([["ArrowUp", 1], ["ArrowRight", 1], ["ArrowDown", -1], ["ArrowLeft", -1]]);
const SVG = "http://www.w3.org/2000/svg";

/** @type {{ svg: SVGSVGElement, taken: Element, id: number, x: number, y: number, bands: Band[] | null } | null} */
let press = null;
/** @type {{ element: Element, band: Band } | null} */
let keys = null;
/** After a drag, until the click is over that browsers make of its end. */
let dragged = false;

/** While this is set, live.js leaves the page as it is. */
function hold() {
  document.documentElement.dataset.held = "brush";
}

function end() {
  document.querySelector("svg .brushed")?.remove();
  keys?.element.setAttribute("aria-valuetext", "all");
  keys?.element.setAttribute("aria-valuenow", "0");
  press = keys = null;
  delete document.documentElement.dataset.held;
}

/** @param {string} words */
function tell(words) {
  const status = document.querySelector("#brush [role=status]");
  if (status !== null) status.textContent = words;
}

/** @param {Band[]} bands */
function words(bands) {
  return bands.map(({ axis, from, to }) => say(axis, from, to)).join(", ");
}

/**
 * @param {Axis} axis
 * @param {number} from
 * @param {number} to
 */
function say(axis, from, to) {
  const found = termsOf(axis, from, to);
  if (found === null) return `${axis.label}: nothing`;
  return found.length ? `${axis.label} ${found.map((one) => one.text.slice(axis.path.length + 1)).join(" and ")}` : "all";
}

/** @param {Band[]} bands */
function apply(bands) {
  const found = bands.map(({ axis, from, to }) => termsOf(axis, from, to));
  if (found.includes(null)) return refuse("There is nothing in the band that a filter can ask for.");
  const brush = /** @type {HTMLElement} */ (document.getElementById("brush"));
  const also = bands.flatMap(({ axis }, at) => (axis.also && found[at]?.length ? [axis.also] : []));
  const added = /** @type {import("./bounds.js").Term[]} */ (found.flat());
  const filter = joined(JSON.parse(brush.dataset.terms ?? "[]"), added, also);
  if (filter === null) return refuse("The band leaves out nothing that is not left out.");
  if ([...filter].length > Number(brush.dataset.most)) return refuse("The filter would become too long: shorten it above.");
  const url = new URL(location.href);
  url.searchParams.set("q", filter);
  for (const [name, value] of Object.entries(JSON.parse(brush.dataset.drawn ?? "{}"))) {
    if (!url.searchParams.get(name)) url.searchParams.set(name, value);
  }
  const svg = press?.svg ?? keys?.element.closest("svg");
  if (svg) leave(svg, url);
  location.assign(url);
}

/** @param {string} why */
function refuse(why) {
  end();
  tell(why);
}

/**
 * The bands in the picture; across an axis that has none it goes from side to side.
 * @param {SVGSVGElement} svg
 * @param {Element} taken
 * @param {Band[]} bands
 */
function draw(svg, taken, bands) {
  const field = svg.querySelector(".plot") ?? taken;
  const box = Object.fromEntries(["x", "y", "width", "height"].map((name) => [name, Number(field.getAttribute(name))]));
  for (const { axis, from, to } of bands) {
    const [one, other] = [from, to].map((part) => axis.first + part * (axis.last - axis.first));
    box[axis.along] = Math.min(one, other);
    box[axis.along === "x" ? "width" : "height"] = Math.abs(other - one);
  }
  const group = svg.querySelector(".brushed") ?? svg.appendChild(document.createElementNS(SVG, "g"));
  group.setAttribute("class", "brushed");
  const rect = group.querySelector("rect") ?? group.appendChild(document.createElementNS(SVG, "rect"));
  for (const [name, value] of Object.entries(box)) rect.setAttribute(name, value.toFixed(1));
  const text = group.querySelector("text") ?? group.appendChild(document.createElementNS(SVG, "text"));
  const middle = box.x + box.width / 2;
  const right = middle > svg.viewBox.baseVal.width / 2;
  text.setAttribute("text-anchor", right ? "end" : "start");
  text.setAttribute("x", String(right ? box.x + box.width : box.x));
  text.setAttribute("y", String(box.y > 30 ? box.y - 6 : box.y + 16));
  text.textContent = words(bands);
}

/**
 * Where the pointer is in the picture's own pixels.
 * @param {SVGSVGElement} svg
 * @param {number} x
 * @param {number} y
 */
function within(svg, x, y) {
  return new DOMPoint(x, y).matrixTransform(/** @type {DOMMatrix} */ (svg.getScreenCTM()).inverse());
}

/**
 * The brush under the pointer, or the field of marks if the pointer is in it, which marks and lines stand in.
 * @param {PointerEvent} event
 * @param {SVGSVGElement} svg
 */
function takenBy(event, svg) {
  const target = /** @type {Element} */ (event.target);
  if (target.matches(".brush")) return target;
  const plot = event.pointerType === "touch" ? null : svg.querySelector(".plot"); // a finger scrolls the page there
  if (plot === null) return null;
  const [left, top, width, height] = ["x", "y", "width", "height"].map((name) => Number(plot.getAttribute(name)));
  const { x, y } = within(svg, event.clientX, event.clientY);
  return x >= left && x <= left + width && y >= top && y <= top + height ? plot : null;
}

/**
 * @param {NonNullable<typeof press>} held
 * @param {PointerEvent} event
 * @returns {Band[]}
 */
function bandsOf({ svg, taken, x, y }, event) {
  const begin = within(svg, x, y);
  const now = within(svg, event.clientX, event.clientY);
  const elements = taken.matches(".brush") ? [taken] : [...svg.querySelectorAll(".brush")];
  const found = elements.map(axisOf).map((axis) => {
    const [one, other] = axis.along === "x" ? [begin.x, now.x] : [begin.y, now.y];
    const parts = [one, other].map((at) => Math.min(1, Math.max(0, (at - axis.first) / (axis.last - axis.first))));
    return { axis, from: Math.min(...parts), to: Math.max(...parts), meant: Math.abs(other - one) >= MEANT };
  });
  return found.filter((one) => one.meant);
}

document.addEventListener("pointerdown", (event) => {
  const svg = event.target instanceof Element ? event.target.closest("svg.brushable") : null;
  if (!(svg instanceof SVGSVGElement) || press || !event.isPrimary || event.button !== 0) return;
  const taken = takenBy(event, svg);
  if (taken === null) return;
  end();
  press = { svg, taken, id: event.pointerId, x: event.clientX, y: event.clientY, bands: null };
  hold();
});

document.addEventListener("pointermove", (event) => {
  if (press?.id !== event.pointerId) return;
  if (press.bands === null) {
    if (Math.hypot(event.clientX - press.x, event.clientY - press.y) < TREMBLE) return;
    press.svg.setPointerCapture(press.id);
    dragged = true;
  }
  press.bands = bandsOf(press, event);
  if (press.bands.length) draw(press.svg, press.taken, press.bands);
  else document.querySelector("svg .brushed")?.remove();
});

document.addEventListener("pointerup", (event) => {
  setTimeout(() => (dragged = false));
  if (press?.id !== event.pointerId) return;
  if (press.bands?.length) apply(press.bands);
  else end();
  press = null;
});

document.addEventListener("pointercancel", (event) => {
  dragged = false;
  if (press?.id === event.pointerId) end();
});

// a finger on an axis draws a band instead of scrolling; `touch-action` does not say so reliably inside of a picture
document.addEventListener(
  "touchstart",
  (event) => event.target instanceof Element && event.target.matches("svg .brush") && event.preventDefault(),
  { passive: false },
);

// what is dragged is no text, and the end of a drag no click on the mark that happens to be there
document.addEventListener("selectstart", (event) => press && event.preventDefault());
document.addEventListener("click", (event) => dragged && event.stopPropagation(), { capture: true });

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return end();
  const element = event.target instanceof Element && event.target.matches("svg .brush") ? event.target : null;
  if (element === null || press || event.ctrlKey || event.altKey || event.metaKey) return;
  const way = ARROWS.get(event.key);
  if (way !== undefined) {
    event.preventDefault();
    move(element, way, event.shiftKey);
  } else if (event.key === "Enter" && keys) {
    event.preventDefault();
    apply([keys.band]);
  }
});

/**
 * @param {Element} element
 * @param {number} way
 * @param {boolean} upper
 */
function move(element, way, upper) {
  keys ??= { element, band: { axis: axisOf(element), from: 0, to: 1 } };
  hold();
  const { band } = keys;
  const steps = band.axis.levels.length || STEPS;
  const [from, to] = [Math.round(band.from * steps), Math.round(band.to * steps)];
  if (upper) band.to = Math.min(steps, Math.max(from + 1, to + way)) / steps;
  else band.from = Math.max(0, Math.min(to - 1, from + way)) / steps;
  element.setAttribute("aria-valuetext", words([band]));
  element.setAttribute("aria-valuenow", String(Math.round(100 * (upper ? band.to : band.from))));
  draw(/** @type {SVGSVGElement} */ (element.closest("svg")), element, [band]);
}

document.addEventListener("focusout", (event) => event.target === keys?.element && end());
// back from the page that a brush led to: it is over
addEventListener("pageshow", end);
document.documentElement.classList.add("brushing");
arrive();
