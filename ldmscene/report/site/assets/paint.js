"use strict";
// Pictures cut out of a sample's strips and sheets, drawn on canvases.

const report = window.ldmscene;
const byId = (id) => document.getElementById(id);
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

// Draw the tile {x, y, width, height} of a picture, {} for the whole; null clears. The last call for a canvas wins.
async function paint(canvas, url, tile, label) {
  const wanted = canvas.dataset.wanted = tile ? `${url} ${tile.x} ${tile.y}` : "";
  const image = tile && await picture(url).catch(() => null);
  if (canvas.dataset.wanted !== wanted) return;
  const { x = 0, y = 0, width = image?.naturalWidth, height = image?.naturalHeight } = tile ?? {};
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", image ? label : `${label}: not kept`);
  canvas.width = image ? width : 1;
  canvas.height = image ? height : 1;
  canvas.style.aspectRatio = image ? `${width} / ${height}` : "";
  if (image) canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
  canvas.dataset.shown = wanted;
}

// The tile at a position of a row [top, height, width, columns].
function cut(row, i) {
  if (!row) return null;
  const [top, height, width, columns] = row;
  return { x: (i % columns) * width, y: top + Math.floor(i / columns) * height, width, height };
}

const urls = {
  image: (sample) => `${sample.folder}/image.webp`,
  pictures: (sample) => `${sample.folder}/pictures.webp`,
  maps: (sample, target) => `${sample.folder}/maps-${report.targets.indexOf(target)}.png`,
};

// A small element builder: text is always text, never markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function shown(score) {
  return score === null || score === undefined ? "–" : signed(score.toFixed(3));
}

// A number's digits with a minus sign instead of a hyphen.
function signed(digits) {
  return String(digits).replace("-", "−");
}

// Previous and next buttons around "1 to 12 of 48". A button at the end keeps the focus, but does nothing.
function pager(element, size, draw) {
  let first = 0, count = 0;
  const [back, forth] = element.querySelectorAll("button");
  function show() {
    const end = Math.min(first + size, count);
    back.setAttribute("aria-disabled", first === 0);
    forth.setAttribute("aria-disabled", end === count);
    element.hidden = count <= size;
    element.querySelector("span").textContent = `${first + 1} to ${end} of ${count}`;
    draw(first, end);
  }
  for (const button of [back, forth]) {
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      first += size * Number(button.dataset.by);
      show();
    });
  }
  return { reset(total) { first = 0; count = total; show(); }, open(index) { first = index - index % size; show(); } };
}
