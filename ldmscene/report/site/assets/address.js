"use strict";
// The page's address says what is shown: #sample=…&step=…&target=…&module=…&show=…&beside=…, the
// module of that target's probe.

let noted = location.hash, later = 0;

// A new place in the history where somebody chose another sample; otherwise the same place with other words, once the
// slider rests.
function noteAddress(another = false) {
  const k = chosenTarget();
  const words = new URLSearchParams({
    sample: report.samples[at.sample].id,
    step: report.steps[at.step],
    target: report.targets[k].name,
    module: report.modules[at.module[k]].name,
    show: chosenMeasure(),
    ...(at.beside === null ? {} : { beside: report.samples[at.beside].id }),
  });
  noted = `#${words}`;
  clearTimeout(later);
  if (another) location.hash = noted;
  else later = setTimeout(() => location.replace(noted), 150);
}

function readAddress() {
  const words = new URLSearchParams(location.hash.slice(1));
  const position = (list, word, otherwise) => {
    const i = list.map(String).indexOf(words.get(word));
    return i < 0 ? otherwise : i;
  };
  const k = position(report.targets.map((t) => t.name), "target", chosenTarget());
  chooseTarget(k);
  if (switches.some((input) => input.value === words.get("show"))) chooseMeasure(words.get("show"));
  at.module[k] = position(report.modules.map((m) => m.name), "module", at.module[k]);
  at.step = position(report.steps, "step", at.step);
  compare(words.has("beside") ? position(report.samples.map((s) => s.id), "beside", null) : null);
  const sample = position(report.samples.map((s) => s.id), "sample", at.sample);
  reveal(sample);
  openSample(sample);
}

byId("unscripted").hidden = true;
if (report.samples.length) {
  byId("browser").hidden = false;
  pages.reset(found.length);
  readAddress();
  if (location.hash.includes("sample=")) byId("samples").scrollIntoView();
  addEventListener("hashchange", () => {
    if (location.hash === noted || !location.hash.includes("=")) return;
    noted = location.hash;
    readAddress();
  });
}
