"use strict";
// The sample browser: one sample, one step, and what probe and labeler read there.

const at = { sample: 0, step: 0, module: report.targets.map((target) => target.best) };
const NAMES = { noisy: "x_t", predicted: "predicted x_0" };
const SOURCES = Object.keys(NAMES).filter((s) => s in report.pictures || report.targets.some((target) => s in target.read));

const rows = report.targets.map((target, i) => {
  const select = make("select", { ariaLabel: `Module of the ${target.name} probe` },
    ...report.modules.map((m, k) => make("option", { value: k, title: m.name }, k === target.best ? `${m.label} (best)` : m.label)));
  select.addEventListener("change", () => { at.module[i] = Number(select.value); drawStep(); noteAddress(); });
  const range = make("span", { className: "range aside" });
  const head = make("tr", { className: "target" }, make("th", { colSpan: 2 + SOURCES.length, scope: "rowgroup" },
    target.name, " ", make("span", { className: "aside" }, target.metric), select, range));
  const cells = ["probe", ...SOURCES, "label"].map(() => make("td", {}, make("canvas"), make("span", { className: "score" })));
  return { target, select, range, cells, head, body: make("tr", {}, ...cells) };
});
const top4 = {
  number: make("td", { ariaHidden: "true" }, make("span", { className: "big" }), make("span", { className: "aside" })),
  canvases: Object.fromEntries([...SOURCES, "image"].map((name) => [name, make("canvas", { className: "smooth" })])),
};
byId("rows").append(
  make("tr", {}, top4.number, ...Object.values(top4.canvases).map((c) => make("td", {}, c))),
  ...rows.flatMap((row) => [row.head, row.body]));

let found = report.samples.map((_, i) => i);  // those whose prompt has what is searched for
const pages = pager(byId("pages"), 24, (first, end) => {
  byId("thumbs").replaceChildren(...found.slice(first, end).map((index) => {
    const sample = report.samples[index];
    const button = make("button", { type: "button", title: sample.prompt.slice(0, 200), ariaLabel: `Sample ${sample.id}: ${sample.prompt.slice(0, 80)}` },
      make("img", { src: urls.image(sample), alt: "", loading: "lazy" }));
    button.dataset.sample = index;
    button.addEventListener("click", () => chooseSample(index));
    return make("li", {}, button);
  }));
  markThumb();
});

function search(text) {
  const words = text.toLowerCase().split(/\s+/);
  found = report.samples.map((_, i) => i).filter((i) => {
    const sample = `${report.samples[i].id} ${report.samples[i].prompt}`.toLowerCase();
    return words.every((word) => sample.includes(word));
  });
  byId("none").hidden = found.length > 0;
  pages.reset(found.length);
}
byId("filter").addEventListener("input", (event) => search(event.target.value));

// Make sure that a sample is among the thumbnails.
function reveal(index) {
  if (!found.includes(index)) {
    byId("filter").value = "";
    search("");
  }
  pages.open(found.indexOf(index));
}

function markThumb() {
  for (const b of byId("thumbs").querySelectorAll("button")) b.setAttribute("aria-current", Number(b.dataset.sample) === at.sample);
}

// By a person's choice: it becomes a place to come back to.
function chooseSample(index) {
  openSample(index);
  noteAddress(true);
}

function openSample(index) {
  at.sample = index;
  const sample = report.samples[index];
  byId("prompt").textContent = sample.prompt || "(empty prompt)";
  byId("sample-id").textContent = `${sample.id}, seed ${sample.seed}`;
  markThumb();
  drawImage(sample);
  drawStep();
}

function turnSample(by) {
  const next = found.indexOf(at.sample) + by;
  if (next < 0 || next >= found.length) return;
  reveal(found[next]);
  chooseSample(found[next]);
}

function drawImage(sample) {
  paint(top4.canvases.image, urls.image(sample), {}, "Final image");
  for (const { target, cells, range } of rows) {
    const label = cells.at(-1), [low, high] = target.ranges[at.sample];
    paint(label.firstChild, urls.maps(sample, target), cut(target.label, 0), `${target.name}: label of the final image`);
    label.lastChild.textContent = "label";
    range.replaceChildren(low, make("span", { className: "bar", style: `background:linear-gradient(90deg,${target.ramp})` }), high);
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
    paint(top4.canvases[source], urls.pictures(sample), cut(report.pictures[source], i), `${NAMES[source]} at ${text}`);
  }
  rows.forEach((row, k) => drawTarget(row, sample, at.module[k], text));
  markCurves(i);
}

function drawTarget({ target, select, cells }, sample, module, text) {
  const i = at.step, url = urls.maps(sample, target);
  select.value = module;
  paint(cells[0].firstChild, url, cut(target.probes[module], i), `${target.name}: probe of ${report.modules[module].label} at ${text}`);
  SOURCES.forEach((source, k) =>
    paint(cells[k + 1].firstChild, url, cut(target.read[source], i), `${target.name}: labeler on ${NAMES[source]} at ${text}`));
  const scores = [target.scores[module][i][at.sample], ...SOURCES.map((s) => target.readings[s]?.[i][at.sample] ?? null)];
  const best = target.sign * Math.max(...scores.filter((s) => s !== null).map((s) => target.sign * s));
  scores.forEach((score, k) => {
    cells[k].lastChild.textContent = k > 0 && !target.read[SOURCES[k - 1]] ? "not read" : shown(score);
    cells[k].classList.toggle("win", score !== null && score === best);
  });
}

function openStep(i) {
  at.step = Math.max(0, Math.min(i, report.steps.length - 1));
  drawStep();
  noteAddress();
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
for (const button of document.querySelectorAll(".plain[data-sample]")) {
  button.addEventListener("click", () => turnSample(Number(button.dataset.sample)));
}
// Single letters act only while the browser has the focus, so that they get in nobody's way.
byId("browser").addEventListener("keydown", (event) => {
  const by = { n: 1, p: -1 }[event.key];
  if (by && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.matches("select, [type=search]")) turnSample(by);
});
