// What stands in the way of people who do not see the page, or use it with a finger; by rules of WCAG and axe.
(() => {
  const shown = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const words = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
  const faults = [];
  for (const e of document.querySelectorAll("button, a, [role=button], label")) { // label-content-name-mismatch
    const name = e.getAttribute("aria-label");
    if (shown(e) && name !== null && !words(name).includes(words(e.innerText))) faults.push(`name: ${name}`);
    if (shown(e) && !words(name ?? e.innerText)) faults.push(`no name: ${e.outerHTML}`);
  }
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); // region
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (words(walk.currentNode.data) && shown(e) && !e.closest("main, body > header, nav, .skip, script, noscript, template")) faults.push(`no region: ${e.outerHTML}`);
  }
  for (const e of document.querySelectorAll("button, select, a, textarea, input, label.link, label.drop, [role=slider]")) { // target size
    const { width, height } = e.getBoundingClientRect();
    if (!shown(e) || e.type === "file" || e.className === "skip") continue;
    if (matchMedia("(max-width: 760px)").matches && Math.min(width, height) < 40) faults.push(`small: ${e.id || e.className} ${width} x ${height}`);
  }
  for (const e of [document.documentElement, document.querySelector("main")]) if (e.scrollWidth > e.clientWidth) faults.push("wider than the window");
  return faults;
})()
