"use strict";
// The heat map: a choice of target, arrow keys between cells, and a window with a cell's samples.

const panels = [...document.querySelectorAll(".panel")];
function chooseTarget(value) {
  for (const panel of panels) panel.hidden = panel.dataset.target !== value;
}
for (const input of document.querySelectorAll("[name=target]")) {
  input.addEventListener("change", () => chooseTarget(input.value));
  if (input.checked) chooseTarget(input.value);
}

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
for (const panel of document.querySelectorAll(".heat")) {
  const buttons = [...panel.querySelectorAll("button")];
  const find = (module, step) => buttons.find((b) => b.dataset.module === String(module) && b.dataset.step === String(step));
  buttons[0].tabIndex = 0;
  panel.addEventListener("focusin", (event) => {
    if (!event.target.matches("button")) return;
    for (const button of buttons) button.tabIndex = button === event.target ? 0 : -1;
  });
  panel.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move || !event.target.matches("button")) return;
    event.preventDefault();
    const { module, step } = event.target.dataset;
    find(Number(module) + move[0], Number(step) + move[1])?.focus();
  });
  panel.addEventListener("click", (event) => {
    if (event.target.matches("button")) openCell(report.targets[panel.dataset.target], event.target);
  });
}

let cell = null;
const window12 = pager(document.querySelector("#cell .pager"), 12, (first, end) => {
  byId("cell-samples").replaceChildren(...cell.samples.slice(first, end).map(cellSample));
});

function openCell(target, button) {
  const module = Number(button.dataset.module), step = Number(button.dataset.step);
  const samples = report.samples.map((_, i) => i).filter((i) => tiles.probe(report.samples[i], target, module, step));
  cell = { target, module, step, samples };
  byId("cell-title").textContent = `${target.name}: ${report.modules[module].label} at step ${report.steps[step]}`;
  const kept = samples.length < report.samples.length ? ` Maps of this module are kept for ${samples.length} samples.` : "";
  byId("cell-score").textContent = `${target.metric.replaceAll("_", " ")} ${button.dataset.full}. ${report.modules[module].name}.${kept}`;
  window12.reset(samples.length);
  byId("cell").showModal();
  byId("cell-title").focus();
}

function cellSample(index) {
  const { target, module, step } = cell, sample = report.samples[index];
  const probe = make("canvas"), label = make("canvas");
  paint(probe, probeUrl(sample, target), tiles.probe(sample, target, module, step), "Probe");
  paint(label, `${sample.folder}/readings.webp`, tiles.label(target.name), "Label");
  const triple = make("span", { className: "triple" },
    make("span", {}, make("img", { className: "picture", src: `${sample.folder}/image.webp`, alt: "" }), "image"),
    make("span", {}, probe, `probe ${shown(target.scores[module][step][index])}`),
    make("span", {}, label, "label"));
  const button = make("button", { type: "button" }, triple, make("span", { className: "caption", dir: "auto" }, sample.prompt.slice(0, 120)));
  button.addEventListener("click", () => showInBrowser(index));
  return make("li", {}, button);
}

function showInBrowser(index) {
  at.module[report.targets.indexOf(cell.target)] = cell.module;
  at.step = cell.step;
  byId("cell").close();
  pages.open(index);
  openSample(index);
  byId("samples").scrollIntoView();
  byId("step").focus({ preventScroll: true });
}
