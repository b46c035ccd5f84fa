"use strict";
// Curves: the numbers of a step where one points or moves with the arrow keys, its samples where one presses; each chart
// is a slider, too.

const charts = [...document.querySelectorAll(".chart")].map((svg) => {
  const strips = [...svg.querySelectorAll(".strip")], tip = svg.parentElement.querySelector(".tip");
  const show = (i) => {
    tip.textContent = strips[i].dataset.text;
    tip.hidden = false;
    const share = Number(strips[i].dataset.centre) / svg.viewBox.baseVal.width;
    tip.style.left = `${100 * share}%`;
    tip.style.translate = `${-100 * share}%`;
  };
  const openSamplesOf = (i) => {
    const k = Number(svg.dataset.target), target = report.targets[k];
    chooseTarget(k);
    openStep(i);
    openSamples(target, target.best, i, "");
  };
  strips.forEach((strip, i) => {
    strip.addEventListener("pointerenter", () => show(i));
    strip.addEventListener("click", () => openSamplesOf(i));
  });
  svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") tip.hidden = true; });
  svg.addEventListener("blur", () => { tip.hidden = true; });
  svg.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (event.key === "Escape") tip.hidden = true;
    if (event.key === "Enter") openSamplesOf(at.step);
    if (!by) return;
    event.preventDefault();
    openStep(at.step + by);
    show(at.step);
  });
  svg.setAttribute("role", "slider");
  svg.setAttribute("aria-valuemin", 0);
  svg.setAttribute("aria-valuemax", strips.length - 1);
  svg.tabIndex = 0;
  return { svg, strips };
});

function markCurves(i) {
  for (const { svg, strips } of charts) {
    const now = svg.querySelector(".now");
    now.style.visibility = "visible";
    now.setAttribute("transform", `translate(${strips[i].dataset.centre})`);
    svg.setAttribute("aria-valuenow", i);
    svg.setAttribute("aria-valuetext", strips[i].dataset.text.replaceAll("\n", "; "));
  }
}
