"use strict";
// The sample browser: one sample, one step, and what probe and labeler read there.

const at = { sample: 0, step: 0, module: report.targets.map((target) => target.best) };
const SOURCES = ["noisy", "predicted"];
const NAMES = { noisy: "x_t", predicted: "predicted x_0" };
const byId = (id) => document.getElementById(id);

const rows = report.targets.map((target, i) => {
  const select = make("select", { ariaLabel: `Module of the ${target.name} probe` },
    ...report.modules.map((m, k) => make("option", { value: k, title: m.name }, k === target.best ? `${m.label} (best)` : m.label)));
  select.addEventListener("change", () => { at.module[i] = Number(select.value); drawStep(); });
  const head = make("tr", { className: "target" }, make("th", { colSpan: 4, scope: "rowgroup" },
    target.name, " ", make("span", { className: "aside" }, target.metric.replaceAll("_", " ")), select));
  const cells = ["probe", ...SOURCES, "label"].map(() => make("td", {}, make("canvas"), make("span", { className: "score" })));
  return { target, select, cells, head, body: make("tr", {}, ...cells) };
});
const top4 = {
  number: make("td", { ariaHidden: "true" }, make("span", { className: "big" }), make("span", { className: "aside" })),
  canvases: Object.fromEntries([...SOURCES, "image"].map((name) => [name, make("canvas", { className: "smooth" })])),
};
byId("rows").append(
  make("tr", {}, top4.number, ...Object.values(top4.canvases).map((c) => make("td", {}, c))),
  ...rows.flatMap((row) => [row.head, row.body]));

const pages = pager(byId("pages"), 24, (first, end) => {
  byId("thumbs").replaceChildren(...report.samples.slice(first, end).map((sample, i) => {
    const button = make("button", { type: "button", title: sample.prompt.slice(0, 200), ariaLabel: `Sample ${sample.id}: ${sample.prompt.slice(0, 80)}` },
      make("img", { src: `${sample.folder}/image.webp`, alt: "", loading: "lazy" }));
    button.addEventListener("click", () => openSample(first + i));
    return make("li", {}, button);
  }));
  markThumb(first);
  byId("thumbs").dataset.first = first;
});

function markThumb(first) {
  byId("thumbs").querySelectorAll("button").forEach((b, i) => b.setAttribute("aria-current", first + i === at.sample));
}

function openSample(index) {
  at.sample = index;
  const sample = report.samples[index];
  byId("prompt").textContent = sample.prompt || "(empty prompt)";
  byId("sample-id").textContent = `${sample.id}, seed ${sample.seed}`;
  markThumb(Number(byId("thumbs").dataset.first));
  drawImage(sample);
  drawStep();
}

function drawImage(sample) {
  const canvas = top4.canvases.image;
  picture(`${sample.folder}/image.webp`).then((image) =>
    paint(canvas, image.src, { x: 0, y: 0, width: image.naturalWidth, height: image.naturalHeight }, "Final image"));
  for (const { target, cells } of rows) {
    paint(cells[3].querySelector("canvas"), `${sample.folder}/readings.webp`, tiles.label(target.name), `${target.name}: label of the final image`);
    cells[3].querySelector(".score").textContent = "label";
  }
}

function drawStep() {
  const sample = report.samples[at.sample], i = at.step;
  const text = `step ${report.steps[i]}, timestep ${report.timesteps[i]}`;
  byId("step").value = i;
  byId("step").setAttribute("aria-valuetext", text);
  byId("now").textContent = text;
  top4.number.firstChild.textContent = report.steps[i];
  top4.number.lastChild.textContent = `t = ${report.timesteps[i]}`;
  for (const source of SOURCES) {
    paint(top4.canvases[source], `${sample.folder}/pictures.webp`, tiles.picture(source, i), `${NAMES[source]} at ${text}`);
  }
  rows.forEach((row, k) => drawTarget(row, sample, at.module[k], text));
  markCurves(i);
}

function drawTarget({ target, select, cells }, sample, module, text) {
  const i = at.step, label = report.modules[module].label;
  select.value = module;
  for (const option of select.options) option.disabled = !sample.complete && Number(option.value) !== target.best;
  const scores = [target.scores[module][i][at.sample], ...SOURCES.map((s) => target.readings[s]?.[i][at.sample] ?? null)];
  paint(cells[0].firstChild, probeUrl(sample, target), tiles.probe(sample, target, module, i), `${target.name}: probe of ${label} at ${text}`);
  SOURCES.forEach((source, k) => paint(cells[k + 1].firstChild, `${sample.folder}/readings.webp`,
    tiles.reading(source, target.name, i), `${target.name}: labeler on ${NAMES[source]} at ${text}`));
  const best = Math.max(...scores.filter((s) => s !== null));
  scores.forEach((score, k) => {
    cells[k].querySelector(".score").textContent = shown(score);
    cells[k].classList.toggle("win", score !== null && score === best);
  });
}

function markCurves(i) {
  for (const chart of document.querySelectorAll(".chart")) {
    const now = chart.querySelector(".now");
    now.style.visibility = "visible";
    now.setAttribute("transform", `translate(${Number(chart.dataset.first) + i * Number(chart.dataset.pitch)})`);
  }
}

function openStep(i) {
  at.step = i;
  drawStep();
}

let playing = 0;
function play(on) {
  clearInterval(playing);
  byId("play").setAttribute("aria-pressed", on);
  byId("play").textContent = on ? "Pause" : "Play";
  byId("now").setAttribute("aria-live", on ? "off" : "polite");
  if (on) playing = setInterval(() => openStep((at.step + 1) % report.steps.length), 500);
}
byId("play").addEventListener("click", () => play(byId("play").getAttribute("aria-pressed") !== "true"));
byId("step").addEventListener("input", (event) => { play(false); openStep(Number(event.target.value)); });
document.querySelectorAll(".chart").forEach((chart) =>
  chart.querySelectorAll(".strip").forEach((strip, i) => strip.addEventListener("click", () => openStep(i))));

byId("unscripted").hidden = true;
if (report.samples.length) {
  byId("browser").hidden = false;
  pages.reset(report.samples.length);
  openSample(0);
}
