// Points: a plane of them on a canvas, drawn fast while it moves and finely when it rests.

const FINE_LIMIT = 3000; // above this many points, a moving plane is drawn by pixels
const REST_MS = 140;
const BINS = 24; // of a column of numbers, for its colours

class Plane {
  constructor(canvas, x, y) {
    Object.assign(this, { canvas, x, y, count: x.length, zoom: 1 });
    this.marks = [];
    this.found = []; // rows that stand out; the others step back
    this.under = () => {};
    const [left, right] = bounds([x]);
    const [bottom, top] = bounds([y]);
    this.centre = [(left + right) / 2, (bottom + top) / 2];
    this.span = Math.max(right - left, top - bottom) || 1;
    this.focus = [...this.centre];
    this.groups = [{ colour: [59, 118, 196], rows: null }];
    this.index();
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  // A grid of cells, so that the point under the pointer is found among few.
  index() {
    this.cells = Math.max(1, Math.ceil(Math.sqrt(this.count / 4)));
    this.grid = new Map();
    for (let row = 0; row < this.count; row += 1) {
      const cell = this.cellOf(this.x[row], this.y[row]);
      if (!this.grid.has(cell)) this.grid.set(cell, []);
      this.grid.get(cell).push(row);
    }
  }

  cellOf(x, y) {
    const at = (value, axis) => Math.floor(((value - this.centre[axis]) / this.span + 0.5) * this.cells);
    return at(y, 1) * 65536 + at(x, 0);
  }

  nearest(x, y, reach) {
    const size = this.span / this.cells;
    const rings = Math.min(this.cells, Math.ceil(reach / size));
    let best = -1;
    let least = reach * reach;
    for (let i = -rings; i <= rings; i += 1) for (let j = -rings; j <= rings; j += 1) {
      for (const row of this.grid.get(this.cellOf(x + i * size, y + j * size)) ?? []) {
        const distance = (this.x[row] - x) ** 2 + (this.y[row] - y) ** 2;
        if (distance < least) [best, least] = [row, distance];
      }
    }
    return best;
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    this.width = Math.max(1, box.width);
    this.height = Math.max(1, box.height);
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.image = null;
    this.draw();
  }

  get scale() { return (this.zoom * Math.min(this.width, this.height) * 0.92) / this.span; }
  toScreen(x, y) { return [this.width / 2 + (x - this.focus[0]) * this.scale, this.height / 2 - (y - this.focus[1]) * this.scale]; }
  toPlane(left, top) { return [this.focus[0] + (left - this.width / 2) / this.scale, this.focus[1] - (top - this.height / 2) / this.scale]; }

  zoomBy(factor, left = this.width / 2, top = this.height / 2) {
    const [x, y] = this.toPlane(left, top);
    this.zoom = clamp(this.zoom * factor, 0.5, 400);
    const [newX, newY] = this.toPlane(left, top);
    this.focus = [this.focus[0] + x - newX, this.focus[1] + y - newY];
    this.move();
  }

  panBy(dx, dy) {
    this.focus = [this.focus[0] - dx / this.scale, this.focus[1] + dy / this.scale];
    this.move();
  }

  whole() { this.zoom = 1; this.focus = [...this.centre]; this.move(); }

  move() {
    clearTimeout(this.resting);
    this.isMoving = true;
    this.resting = setTimeout(() => { this.isMoving = false; this.draw(); }, REST_MS);
    this.draw();
  }

  draw() {
    if (this.waiting || !this.width) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  paint() {
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.isMoving && this.count > FINE_LIMIT) this.paintPixels(context);
    else this.paintDiscs(context);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.paintFound(context);
    this.under(context);
    this.paintMarks(context);
  }

  get radius() {
    return clamp(Math.sqrt(20000 / this.count) * this.zoom ** 0.35, 1.3, 5);
  }

  paintDiscs(context) {
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    const { radius, scale } = this;
    const left = this.width / 2 - this.focus[0] * scale;
    const top = this.height / 2 + this.focus[1] * scale;
    context.globalAlpha = this.found.length ? 0.18 : this.count > FINE_LIMIT ? 0.55 : 0.75;
    for (const { colour, rows } of this.groups) {
      context.fillStyle = rgb(colour);
      context.beginPath();
      const length = rows ? rows.length : this.count;
      for (let i = 0; i < length; i += 1) {
        const row = rows ? rows[i] : i;
        const x = left + this.x[row] * scale;
        const y = top - this.y[row] * scale;
        if (x < -radius || y < -radius || x > this.width + radius || y > this.height + radius) continue;
        if (radius < 2) context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
        else { context.moveTo(x + radius, y); context.arc(x, y, radius, 0, 7); }
      }
      context.fill();
    }
    context.globalAlpha = 1;
  }

  paintPixels(context) {
    const { width, height } = this.canvas;
    if (!this.image) {
      this.image = context.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    this.pixels.fill(0);
    const scale = this.scale * this.ratio;
    const left = width / 2 - this.focus[0] * scale;
    const top = height / 2 + this.focus[1] * scale;
    const size = Math.max(2, Math.round(this.radius * this.ratio * 1.6));
    for (const { colour: [red, green, blue], rows } of this.groups) {
      const colour = (((this.found.length ? 45 : 190) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
      const length = rows ? rows.length : this.count;
      for (let i = 0; i < length; i += 1) {
        const row = rows ? rows[i] : i;
        const x = Math.round(left + this.x[row] * scale);
        const y = Math.round(top - this.y[row] * scale);
        if (x < 0 || y < 0 || x + size >= width || y + size >= height) continue;
        for (let j = 0; j < size; j += 1) this.pixels.fill(colour, (y + j) * width + x, (y + j) * width + x + size);
      }
    }
    context.putImageData(this.image, 0, 0);
  }

  paintFound(context) {
    const radius = this.radius + 1;
    context.fillStyle = colourOf("--accent");
    context.beginPath();
    for (const row of this.found) {
      const [x, y] = this.toScreen(this.x[row], this.y[row]);
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 7);
    }
    context.fill();
  }

  paintMarks(context) {
    const ink = colourOf("--ink");
    const paper = colourOf("--paper");
    for (const { x, y, kind, label } of this.marks) {
      const [left, top] = this.toScreen(x, y);
      context.beginPath();
      context.arc(left, top, kind === "near" ? 5 : 8, 0, 7);
      context.lineWidth = kind === "near" ? 2 : 3;
      context.strokeStyle = ink;
      if (kind !== "near") { context.fillStyle = paper; context.fill(); }
      context.stroke();
      if (label) this.write(context, label, left, top - 13, ink, paper);
    }
  }

  write(context, text, left, top, ink, paper, size = 12) {
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.lineWidth = 4;
    context.lineJoin = "round";
    context.strokeStyle = paper;
    context.strokeText(text, left, top);
    context.fillStyle = ink;
    context.fillText(text, left, top);
  }
}

// Rows by colour: {groups, legend} of a column of numbers or of categories.
function coloured(values, categories) {
  const rows = new Map();
  const [low, high] = bounds([values]);
  values.forEach((value, row) => {
    const bin = categories ? value : Math.min(BINS - 1, Math.floor(((value - low) / (high - low || 1)) * BINS));
    if (!rows.has(bin)) rows.set(bin, []);
    rows.get(bin).push(row);
  });
  const colour = (bin) => (categories ? channels(hueOf(bin)) : ramp(bin / (BINS - 1)));
  const groups = [...rows].sort(([one], [other]) => one - other).map(([bin, list]) => ({ colour: colour(bin), rows: list }));
  const legend = categories
    ? categories.slice(0, 24).map((name, bin) => [name, hueOf(bin)])
    : [0, 0.5, 1].map((share) => [round(low + share * (high - low)), rgb(ramp(share))]);
  return { groups, legend };
}
