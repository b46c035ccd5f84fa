"use strict";
// Pictures cut out of a sample's strips and atlases, drawn on canvases.

const report = window.ldmscene;
const pictures = new Map();

function picture(url) {
  if (!pictures.has(url)) {
    pictures.set(url, new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new Error(`${url} is missing`));
      image.src = url;
    }));
  }
  return pictures.get(url);
}

// Draw the tile {x, y, width, height} of a picture; null clears. The last call for a canvas wins.
async function paint(canvas, url, tile, label) {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", tile ? label : `${label}: not kept`);
  const wanted = tile ? `${url} ${tile.x} ${tile.y}` : "";
  canvas.dataset.shows = wanted;
  const image = tile && await picture(url);
  if (canvas.dataset.shows !== wanted) return;
  canvas.width = tile ? tile.width : 1;
  canvas.height = tile ? tile.height : 1;
  canvas.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
  if (tile) canvas.getContext("2d").drawImage(image, tile.x, tile.y, tile.width, tile.height, 0, 0, tile.width, tile.height);
}

function cut(sheet, row, column) {
  const { width, height } = sheet;
  return row < 0 ? null : { x: column * width, y: row * height, width, height };
}

const tiles = {
  picture: (source, step) => cut(report.pictures, report.pictures.rows.indexOf(source), step),
  reading: (source, target, step) => cut(report.readings, report.readings.rows.indexOf(`${source} ${target}`), step),
  label(target) {
    const column = report.readings.labels.indexOf(target);
    return column < 0 ? null : cut(report.readings, report.readings.rows.length, column);
  },
  probe(sample, target, module, step) {
    if (!sample.complete && module !== target.best) return null;
    const [y, height, width] = target.tiles[module];
    return { x: step * width, y, width, height };
  },
};

function probeUrl(sample, target) {
  return `${sample.folder}/probe-${report.targets.indexOf(target)}.png`;
}

// A small element builder: text is always text, never markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function shown(score) {
  return score === null || score === undefined ? "–" : score.toFixed(3);
}

// Previous and next buttons around "1 to 12 of 48".
function pager(element, size, draw) {
  let first = 0, count = 0;
  const [back, forth] = element.querySelectorAll("button");
  function show() {
    back.disabled = first === 0;
    forth.disabled = first + size >= count;
    element.hidden = count <= size;
    element.querySelector("span").textContent = `${first + 1} to ${Math.min(first + size, count)} of ${count}`;
    draw(first, Math.min(first + size, count));
  }
  for (const button of [back, forth]) {
    button.addEventListener("click", () => { first += size * Number(button.dataset.by); show(); });
  }
  return { reset(total) { first = 0; count = total; show(); }, open(index) { first = index - index % size; show(); } };
}
