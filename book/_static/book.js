"use strict";

// A formula that is wider than a narrow page scrolls in itself.  The keyboard has to reach it, as it
// reaches wide tables and code, for which the theme sees to that.
function reachWideFormulas() {
  for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
  }
}

window.addEventListener("load", () => window.MathJax?.startup?.promise.then(reachWideFormulas));
window.addEventListener("resize", reachWideFormulas);
