"use strict";
// What is shown: a choice of target and of measure. The heat map: arrow keys between cells, a window with a cell's samples.

const panels = [...document.querySelectorAll(".panel")];
const choices = [...document.querySelectorAll("[name=target]")];
function chooseTarget(value) {
  choices[value].checked = true;
  for (const panel of panels) panel.hidden = panel.dataset.target !== String(value);
}
for (const input of choices) {
  input.addEventListener("change", () => { chooseTarget(input.value); noteAddress(); });
}
const chosenTarget = () => choices.findIndex((input) => input.checked);

// The style sheet hides the other measure, as the first of the switches says.
const switches = [...document.querySelectorAll(".measure input")];
const chosenMeasure = () => switches.find((input) => input.checked)?.value ?? "score";
function chooseMeasure(value) {
  for (const input of switches) input.checked = input.value === value;
}
for (const input of switches) {
  input.addEventListener("change", () => { chooseMeasure(input.value); noteAddress(); });
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
  const { module, step } = button.dataset;
  openSamples(target, Number(module), Number(step), `${button.title.slice(button.title.indexOf(": ") + 2)}.`);
}

function openSamples(target, module, step, score) {
  const { label, name } = report.modules[module];
  cell = { target, module, step, samples: [] };
  byId("cell-title").textContent = `${target.name}: ${label} at step ${report.steps[step]}`;
  byId("cell-score").textContent = `${score} Scores below are each sample’s ${target.metric}. ${name}`;
  orderCell();
  byId("cell").showModal();
  byId("cell-title").focus();
}

function orderCell() {
  const scores = cell.target.scores[cell.module][cell.step], sign = cell.target.sign * Number(byId("order").value);
  const scored = report.samples.map((_, i) => i).filter((i) => scores[i] !== null);
  const rest = report.samples.map((_, i) => i).filter((i) => scores[i] === null);
  cell.samples = sign ? [...scored.sort((a, b) => sign * (scores[a] - scores[b])), ...rest] : report.samples.map((_, i) => i);
  window12.reset(cell.samples.length);
}

byId("order").addEventListener("change", orderCell);
byId("cell").addEventListener("click", (event) => { if (event.target === byId("cell")) byId("cell").close(); });  // its backdrop

function cellSample(index) {
  const { target, module, step } = cell, sample = report.samples[index], url = urls.maps(sample, target);
  const probe = make("canvas"), label = make("canvas");
  paint(probe, url, cut(target.probes[module], step), "Probe");
  paint(label, url, cut(target.label, 0), "Label");
  const triple = make("span", { className: "triple" },
    make("span", {}, make("img", { className: "picture", src: urls.image(sample), alt: "" }), "image"),
    make("span", {}, probe, `probe ${shown(target.scores[module][step][index])}`),
    make("span", {}, label, "label"));
  const button = make("button", { type: "button" }, triple, make("span", { className: "caption", dir: "auto" }, sample.prompt.slice(0, 120)));
  button.addEventListener("click", () => showInBrowser(index));
  return make("li", {}, button);
}

function showInBrowser(index) {
  const k = report.targets.indexOf(cell.target);
  chooseTarget(k);
  at.module[k] = cell.module;
  at.step = cell.step;
  byId("cell").close();
  reveal(index);
  chooseSample(index);
  byId("samples").scrollIntoView();
  byId("step").focus({ preventScroll: true });
}
