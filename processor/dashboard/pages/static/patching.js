// @ts-check
// One tree made like another by as few changes as it takes: what stays the same is not touched, so that focus,
// selection, scroll and whatever is open stay as they are; so does what somebody has typed or chosen in a form.

import { control, keep, own } from "./controls.js";

/** What only the reader changes: it stays, whatever the server says. */
const READERS = new Set(["open"]);

/**
 * Makes `held` like `wanted`, which has the same tag.
 * @param {Element} held
 * @param {Element} wanted
 */
export function patch(held, wanted) {
  const mine = own(held);
  for (const { name, value } of [...wanted.attributes]) {
    if (!READERS.has(name) && held.getAttribute(name) !== value) held.setAttribute(name, value);
  }
  for (const { name } of [...held.attributes]) {
    if (!READERS.has(name) && !wanted.hasAttribute(name)) held.removeAttribute(name);
  }
  children(held, wanted);
  keep(held, mine);
}

/**
 * @param {Element} held
 * @param {Element} wanted
 */
function children(held, wanted) {
  const keyed = new Map();
  for (const child of held.children) if (key(child)) keyed.set(key(child), child);
  /** @type {ChildNode | null} */
  let here = held.firstChild;
  for (const child of [...wanted.childNodes]) {
    const found = match(child, here, keyed);
    if (found === null) {
      held.insertBefore(document.importNode(child, true), here);
      continue;
    }
    if (found !== here) move(held, found, here);
    else here = here.nextSibling;
    if (found instanceof Element) patch(found, /** @type {Element} */ (child));
    else if (found.nodeValue !== child.nodeValue) found.nodeValue = child.nodeValue;
  }
  while (here !== null) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}

/**
 * The node that stands for `child`: the one with its key, else the one that is here, if it is of its kind.
 * @param {ChildNode} child
 * @param {ChildNode | null} here
 * @param {Map<string, Element>} keyed
 * @returns {ChildNode | null}
 */
function match(child, here, keyed) {
  if (child instanceof Element && key(child)) {
    const found = keyed.get(key(child));
    keyed.delete(key(child));
    return found !== undefined && found.localName === child.localName ? found : null;
  }
  if (here === null || here.nodeType !== child.nodeType) return null;
  if (here instanceof Element && (here.localName !== /** @type {Element} */ (child).localName || key(here))) return null;
  return here;
}

/**
 * A row is the same row where its first link leads to the same place; anything else with an id is the same by that, a
 * part of a form by what it lets choose.
 * @param {Element} element
 * @returns {string}
 */
function key(element) {
  if (element.id) return `#${element.id}`;
  if (element.localName !== "tr") return control(element);
  return element.querySelector("a[href]")?.getAttribute("href") ?? "";
}

/**
 * @param {Element} held
 * @param {ChildNode} found
 * @param {ChildNode | null} here
 */
function move(held, found, here) {
  const focused = document.activeElement;
  const within = focused !== null && found.contains(focused);
  held.insertBefore(found, here);
  if (within && focused instanceof HTMLElement) focused.focus({ preventScroll: true });
}
