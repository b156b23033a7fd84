// @ts-check
// The page that a brush leads to stands where the one before did: the figure that was brushed is at its place in the
// window, and the keyboard is at the axis where it was.

const KEPT = "brushed";

/**
 * @param {Element} svg
 * @param {URL} url
 */
export function leave(svg, url) {
  const region = svg.closest("[role=region]");
  if (region === null) return;
  const axis = svg.contains(document.activeElement) ? document.activeElement?.getAttribute("data-path") : null;
  const kept = {
    url: url.href,
    label: region.getAttribute("aria-label"),
    top: region.getBoundingClientRect().top,
    left: region.scrollLeft,
    axis,
  };
  sessionStorage.setItem(KEPT, JSON.stringify(kept));
}

/** Once the axes are there to be brushed. */
export function arrive() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
  sessionStorage.removeItem(KEPT);
  if (kept.url !== location.href) return;
  const regions = [...document.querySelectorAll("main [role=region]")];
  const region = regions.find((one) => one.getAttribute("aria-label") === kept.label);
  if (!(region instanceof HTMLElement)) return;
  region.scrollLeft = kept.left;
  scrollBy({ top: region.getBoundingClientRect().top - kept.top, behavior: "instant" });
  if (kept.axis === null) return;
  const axes = /** @type {SVGElement[]} */ ([...region.querySelectorAll(".brush")]);
  // an axis whose trials are all alike by now can't be brushed: the figure is what is left of it
  (axes.find((one) => one.dataset.path === kept.axis) ?? region).focus({ preventScroll: true });
}
