"use strict";
// The sample browser: a list that can be searched, a slider of steps, and one sample or two.

const showMain = makeBoard(byId("rows"), true);
byId("beside-board").append(byId("board").tHead.cloneNode(true), make("tbody"));
const showBeside = makeBoard(byId("beside-board").tBodies[0], false);

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
  const all = report.samples.length;
  byId("found").hidden = found.length === all;
  byId("found-text").textContent = found.length
    ? `${found.length} of ${all} prompts have these words; ${all - found.length} are left out.`
    : `No prompt has these words; all ${all} are left out.`;
  pages.reset(found.length);
}
byId("everyone").addEventListener("click", () => { byId("filter").value = ""; search(""); byId("filter").focus(); });
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
  tell(sample, byId("prompt"), byId("sample-id"));
  markThumb();
  drawStep();
}

function tell(sample, prompt, id) {
  prompt.textContent = sample.prompt || "(empty prompt)";
  id.textContent = `${sample.id}, seed ${sample.seed}`;
}

// The sample that is shown stays at the side, so that another can be chosen to stand beside it.
function compare(index) {
  at.beside = index;
  byId("beside").hidden = index === null;
  byId("browser").classList.toggle("two", index !== null);
  byId("compare").hidden = index !== null;
  if (index === null) return;
  tell(report.samples[index], byId("beside-prompt"), byId("beside-id"));
  showBeside(index);
}
byId("compare").addEventListener("click", () => { compare(at.sample); noteAddress(); });
byId("alone").addEventListener("click", () => { compare(null); noteAddress(); byId("compare").focus(); });

function turnSample(by) {
  const next = found.indexOf(at.sample) + by;
  if (next < 0 || next >= found.length) return;
  reveal(found[next]);
  chooseSample(found[next]);
}

function drawStep() {
  const text = stepText(at.step);
  byId("step").value = at.step;
  byId("step").setAttribute("aria-valuetext", text);
  byId("now").textContent = text;
  showMain(at.sample);
  if (at.beside !== null) showBeside(at.beside);
  markCurves(at.step);
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
