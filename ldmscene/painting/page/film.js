// The steps of each run as they come in: rows of small pictures, and the chosen step in large.

import { byId, make } from "./elements.js";

export class Film {
  constructor(targets) {
    const picture = { name: "picture", read: (event) => event.picture };
    const ways = (target) => [
      { name: target, target, read: (event) => event.maps[target] },
      { name: `${target}, labeler`, labeler: true, read: (event) => event.labels[target] },
    ];
    this.all = [picture, ...targets.flatMap(({ name }) => ways(name))];
    this.clear();
    byId("step").addEventListener("input", () => this.go(Number(byId("step").value)));
    for (const input of document.getElementsByName("run")) input.addEventListener("change", () => this.turn(input.value));
  }

  clear(...runs) {
    if (!runs.length || !this.runs) this.runs = { own: [], edit: [], random: [] };
    else for (const run of runs) this.runs[run] = [];
    this.run ??= "own";
    this.step = 0;
    this.draw();
  }

  restore(runs, run) {
    this.runs = runs;
    this.turn(run);
    this.go(this.shown.length - 1);
  }

  get shown() { return this.runs[this.run]; }

  // Those that the chosen run has pictures for.
  get rows() { return this.all.filter((row) => !row.labeler || this.shown.some(row.read)); }

  turn(run) {
    this.run = run;
    for (const input of document.getElementsByName("run")) input.checked = input.value === run;
    this.step = Math.max(0, Math.min(this.step, this.shown.length - 1));
    this.draw();
  }

  // A run's first step begins it anew, as that of another prompt does.
  add(event) {
    if (event.step === 0) this.runs[event.run] = [];
    this.runs[event.run][event.step] = event;
    if (event.run !== this.run) return;
    const body = byId("film").tBodies[0];
    if (event.step === 0) this.draw();
    else this.rows.forEach((row, i) => body.rows[i].append(this.cell(event, row)));
    this.go(event.step);
  }

  draw() {
    byId("film").tBodies[0].replaceChildren(...this.rows.map((row) =>
      make("tr", {}, make("th", { scope: "row" }, title(row)), ...this.shown.map((event) => this.cell(event, row)))));
    this.go(this.step);
  }

  cell(event, row) {
    const cell = make("td", {}, ...this.image(event, row));
    cell.addEventListener("click", () => this.go(event.step));
    return cell;
  }

  image(event, row) {
    const src = row.read(event);
    if (!src) return [];
    const alt = `${row.target ? `what the ${row.target} probe reads` : row.name} at step ${event.step}`;
    return [make("img", { src, alt, className: event.changed.includes(row.target) ? "asked" : "" })];
  }

  go(step) {
    const last = this.shown.length - 1, event = this.shown[step];
    this.step = step;
    Object.assign(byId("step"), { max: Math.max(0, last), value: Math.max(0, step), disabled: last < 0 });
    byId("now").textContent = event ? `step ${event.step}, timestep ${Math.round(event.timestep)}` : "no steps yet";
    byId("step").setAttribute("aria-valuetext", byId("now").textContent);
    for (const row of byId("film").tBodies[0].rows) [...row.cells].forEach((cell, i) => cell.classList.toggle("now", i === step + 1));
    this.reveal(step);
    byId("large").replaceChildren(...(event ? this.rows.map((row) =>
      make("figure", {}, ...this.image(event, row), make("figcaption", {}, this.caption(event, row)))) : []));
  }

  // Scroll the rows sideways until a step is seen.
  reveal(step) {
    const scroll = byId("film").parentElement, [name, ...cells] = byId("film").tBodies[0].rows[0].cells, cell = cells[step];
    if (!cell) return;
    const left = cell.offsetLeft - name.offsetWidth, right = cell.offsetLeft + cell.offsetWidth - scroll.clientWidth;
    scroll.scrollLeft = Math.max(right + 8, Math.min(scroll.scrollLeft, left));
  }

  caption(event, row) {
    const { target } = row;
    if (!target) return title(row);
    if (!row.read(event)) return `${target}: no probe at this step`;
    if (!event.changed.includes(target)) return `${target}, as read`;
    return event.asked === target ? `${target}, as asked for` : `${target}, in a changed module`;
  }
}

const title = ({ name }) => (name === "picture" ? make("i", {}, "x", make("sub", {}, "t")) : name);
