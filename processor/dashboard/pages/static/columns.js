// @ts-check
// A form can't ask for more columns, or trials, than a page has room for: once so many are ticked, no other box can be.

function limit() {
  for (const picks of document.querySelectorAll("[data-most]")) {
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
