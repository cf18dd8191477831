"use strict";

// What is wider than a narrow page scrolls in itself.  Style sheets show which boxes these are, and
// the keyboard reaches them; for tables and code the theme sees to that, for pictures their link.
const BOXES =
  'article :is(pre, .pst-scrollable-table-container, a.image-reference), mjx-container[display="true"]';

function markWide(box) {
  const wide = box.scrollWidth > box.clientWidth + 1;
  if (wide !== box.classList.contains("wide")) box.classList.toggle("wide", wide);
  if (!box.matches("mjx-container")) return;
  if (wide) box.tabIndex = 0;
  else box.removeAttribute("tabindex");
}

// Boxes change their width with the window, and when what they lie in is unfolded.
const watching = new ResizeObserver((seen) => seen.forEach((one) => markWide(one.target)));

function watchBoxes() {
  for (const box of document.querySelectorAll(BOXES)) {
    watching.observe(box);
    markWide(box);
  }
}

// What unfolds the pages of a part has an arrow only, and needs a name.
function nameParts() {
  for (const part of document.querySelectorAll(".bd-links li > details > summary")) {
    const title = part.closest("li").querySelector("a");
    part.setAttribute("aria-label", `Pages of ${title.textContent.trim()}`);
  }
}

document.addEventListener("DOMContentLoaded", nameParts);
window.addEventListener("load", watchBoxes);
window.addEventListener("load", () => window.MathJax?.startup?.promise.then(watchBoxes));
