// @ts-check
// The form of the columns can't ask for more of them than a page has: once so many are ticked, no other box can be.

function limit() {
  for (const picks of document.querySelectorAll("form.columns [data-most]")) {
    const boxes = /** @type {HTMLInputElement[]} */ ([...picks.querySelectorAll("input[type=checkbox]")]);
    const all = boxes.filter((one) => one.checked).length >= Number(picks.getAttribute("data-most"));
    for (const one of boxes) one.disabled = all && !one.checked;
  }
}

document.addEventListener("change", limit);
// forms that have been made anew, or set back
document.addEventListener("shown", limit);
addEventListener("pageshow", limit);
limit();
