// @ts-check
// What a reader has typed or chosen in a form: it stays while the form around it is made like a newer one, and every
// control that nobody has touched says what the newer one says.

/**
 * What is the reader's own in a control; null where nothing is, and for what is no control.
 * @typedef {string | boolean | HTMLOptionElement | null} Own
 */

/**
 * To be asked before the control is changed: it is the reader's where it is not as the server made it.
 * @param {Element} element
 * @returns {Own}
 */
export function own(element) {
  if (element instanceof HTMLSelectElement) {
    const chosen = element.selectedOptions[0] ?? null;
    return chosen === usual(element) ? null : chosen;
  }
  if (!(element instanceof HTMLInputElement)) return null;
  if (element.type === "checkbox") return element.checked === element.defaultChecked ? null : element.checked;
  return element.value === element.defaultValue ? null : element.value;
}

/**
 * After it has been changed: what was the reader's is so again, also a choice that is offered no more.
 * @param {Element} element
 * @param {Own} held
 */
export function keep(element, held) {
  if (element instanceof HTMLSelectElement) {
    const chosen = held instanceof HTMLOptionElement ? held : usual(element);
    if (chosen === null) return;
    if (!chosen.isConnected) element.append(chosen);
    if (!chosen.selected) chosen.selected = true;
  } else if (element instanceof HTMLInputElement && element.type === "checkbox") {
    const checked = typeof held === "boolean" ? held : element.defaultChecked;
    if (element.checked !== checked) element.checked = checked;
  } else if (element instanceof HTMLInputElement) {
    const value = typeof held === "string" ? held : element.defaultValue;
    if (element.value !== value) element.value = value;
  }
}

/**
 * What is chosen in a list that nobody has touched.
 * @param {HTMLSelectElement} select
 */
function usual(select) {
  const options = [...select.options];
  return options.find((one) => one.defaultSelected) ?? options[0] ?? null;
}

/**
 * By what a part of a form is the same part in a newer one, where others come before it: what it lets choose.
 * @param {Element} element
 */
export function control(element) {
  if (element instanceof HTMLOptionElement) return `option ${element.value}`;
  if (element.localName === "label") return element.querySelector("input[type=checkbox]")?.getAttribute("value") ?? "";
  return element.parentElement?.localName === "form" ? (element.querySelector("[id]")?.id ?? "") : "";
}
