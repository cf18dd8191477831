"use strict";

// A formula that is wider than a narrow page scrolls in itself.  The keyboard has to reach it, as it
// reaches wide tables and code, for which the theme sees to that.
function reachWideFormulas() {
  for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
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
window.addEventListener("load", () => window.MathJax?.startup?.promise.then(reachWideFormulas));
window.addEventListener("resize", reachWideFormulas);
