// A table that is wider than the telephone scrolls by itself; the keyboard must reach it to scroll it.
function reach() {
  for (const table of document.querySelectorAll(".bd-article table"))
    table.scrollWidth > table.clientWidth ? table.tabIndex = 0 : table.removeAttribute("tabindex");
}
addEventListener("load", reach);
addEventListener("resize", reach);
