"use strict";
// A board: one sample at one step, and what probe and labeler read there. A second one stands beside it to compare.

const at = { sample: 0, beside: null, step: 0, module: report.targets.map((target) => target.best) };
const NAMES = { noisy: "x_t", predicted: "predicted x_0" };
const SOURCES = Object.keys(NAMES).filter((s) => s in report.pictures || report.targets.some((target) => s in target.read));

function makeBoard(body, chooses) {
  const step = make("span", { className: "big" }), timestep = make("span", { className: "aside" });
  const canvases = Object.fromEntries([...SOURCES, "image"].map((name) => [name, make("canvas", { className: "smooth" })]));
  const rows = report.targets.map((target, k) => boardRow(target, k, chooses));
  body.append(
    make("tr", {}, make("td", { ariaHidden: "true" }, step, timestep), ...Object.values(canvases).map((c) => make("td", {}, c))),
    ...rows.flatMap((row) => [row.head, row.body]));

  return function show(index) {
    const sample = report.samples[index], i = at.step, when = stepText(i);
    step.textContent = report.steps[i];
    timestep.textContent = `t = ${report.timesteps[i]}`;
    paint(canvases.image, urls.image(sample), {}, "Final image");
    for (const source of SOURCES) {
      paint(canvases[source], urls.pictures(sample), cut(report.pictures[source], i), `${NAMES[source]} at ${when}`);
    }
    for (const row of rows) row.show(index);
  };
}

const stepText = (i) => `step ${report.steps[i]}, timestep ${report.timesteps[i]}`;

function moduleChoice(target, k) {
  const select = make("select", { ariaLabel: `Module of the ${target.name} probe` },
    ...report.modules.map((m, i) => make("option", { value: i, title: m.name }, i === target.best ? `${m.label} (best)` : m.label)));
  select.addEventListener("change", () => { at.module[k] = Number(select.value); drawStep(); noteAddress(); });
  return select;
}

// The first board has the choice of modules; the one beside it says what was chosen.
function boardRow(target, k, chooses) {
  const select = chooses ? moduleChoice(target, k) : make("span", { className: "aside chosen" });
  const range = make("span", { className: "range aside" });
  const head = make("tr", { className: "target" }, make("th", { colSpan: 2 + SOURCES.length, scope: "rowgroup" },
    target.name, " ", make("span", { className: "aside" }, target.metric), select, range));
  const cells = ["probe", ...SOURCES, "label"].map(() => make("td", {}, make("canvas"), make("span", { className: "score" })));

  function show(index) {
    const sample = report.samples[index], i = at.step, module = at.module[k], url = urls.maps(sample, target), when = stepText(i);
    if (chooses) select.value = module;
    else select.textContent = report.modules[module].label;
    paint(cells[0].firstChild, url, cut(target.probes[module], i), `${target.name}: probe of ${report.modules[module].label} at ${when}`);
    SOURCES.forEach((source, n) =>
      paint(cells[n + 1].firstChild, url, cut(target.read[source], i), `${target.name}: labeler on ${NAMES[source]} at ${when}`));
    paint(cells.at(-1).firstChild, url, cut(target.label, 0), `${target.name}: label of the final image`);
    cells.at(-1).lastChild.textContent = "label";
    const [low, high] = target.ranges[index];
    range.replaceChildren(signed(low), make("span", { className: "bar", style: `background:linear-gradient(90deg,${target.ramp})` }), signed(high));
    showScores(target, cells, [target.scores[module][i][index], ...SOURCES.map((s) => target.readings[s]?.[i][index] ?? null)]);
  }
  return { head, body: make("tr", {}, ...cells), show };
}

function showScores(target, cells, scores) {
  const best = target.sign * Math.max(...scores.filter((s) => s !== null).map((s) => target.sign * s));
  scores.forEach((score, k) => {
    cells[k].lastChild.textContent = k > 0 && !target.read[SOURCES[k - 1]] ? "not read" : shown(score);
    cells[k].classList.toggle("win", score !== null && score === best);
  });
}
