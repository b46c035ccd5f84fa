// The border of a mask, on black so that it is seen on any picture.

export const WANTED = { dash: [7, 4], colour: "#ffb300" };

export function outline(context, inside, width, height, { dash = [], colour = "#fff" } = {}) {
  const sx = context.canvas.width / width, sy = context.canvas.height / height, path = new Path2D();
  const at = (x, y) => x >= 0 && y >= 0 && x < width && y < height && Boolean(inside[y * width + x]);
  for (let y = 0; y <= height; y++)
    for (let x = 0; x <= width; x++) {
      if (at(x, y) !== at(x - 1, y)) { path.moveTo(x * sx, y * sy); path.lineTo(x * sx, (y + 1) * sy); }
      if (at(x, y) !== at(x, y - 1)) { path.moveTo(x * sx, y * sy); path.lineTo((x + 1) * sx, y * sy); }
    }
  context.save();
  for (const [strokeStyle, lineWidth] of [["#000", 4], [colour, 2]]) {
    Object.assign(context, { strokeStyle, lineWidth });
    context.setLineDash(strokeStyle === "#000" ? [] : dash);
    context.stroke(path);
  }
  context.restore();
}
