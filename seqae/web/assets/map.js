// The map: every text as a point; hover, search, neighbours, colours, cluster words.

const METHODS = { pca: "PCA", tsne: "t-SNE", umap: "UMAP" };
const SEARCH_LIMIT = 60; // of what is listed
const FOUND_LIMIT = 5000; // of what is shown on the map
const CLICK_PIXELS = 4; // a pointer that moved less has clicked

function describe({ method, part: of, seed, trustworthiness, neighbours, explained, shown, total }) {
  const said = [`${METHODS[method]}${of ? ` of the part “${of}”` : ""}, seed ${seed}`];
  if (explained !== null) said.push(`${(100 * explained).toFixed(0)} % of the variance is in this plane`);
  if (trustworthiness !== null) said.push(`trustworthiness ${trustworthiness.toFixed(2)} over ${neighbours} neighbours (1 is perfect)`);
  said.push(shown < total ? `${shown.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} texts, drawn at random` : countOf(total, "text"));
  return `${said.join("; ")}.`;
}

class Atlas {
  constructor(model, index) {
    this.model = model;
    this.index = index;
    this.data = model.map;
    this.x = numbers(this.data.x);
    this.y = numbers(this.data.y);
    this.near = this.data.neighbours ? numbers(this.data.neighbours) : null;
    this.onplane = null; // (x, y, from) => void: what a click on the plane does, or a drag from a place
    this.canvas = element("canvas", { tabindex: "0", role: "application", "aria-label": `Map of ${countOf(this.x.length, "text")}. Arrow keys move it, plus and minus zoom, 0 shows all. The search beside it reaches every point.` });
    this.tip = element("div", { class: "tip texts", hidden: true, dir: "auto" });
    this.plane = new Plane(this.canvas, this.x, this.y);
    this.plane.under = (context) => this.writeClusters(context);
    this.side = element("div", { class: "side", role: "region", "aria-label": "The chosen text", tabindex: "0" });
    this.legend = element("div", {});
    this.listen();
    this.recolour([...Object.keys(this.data.colours), ""][0]);
    this.rest();
  }

  section() {
    const tool = (sign, label, action) => element("button", { type: "button", "aria-label": label, title: label, onclick: action }, sign);
    const search = element("input", { type: "search", placeholder: "words to find", oninput: () => this.search(search.value) });
    const names = [...Object.keys(this.data.colours).map((name) => [name, name]), ["", "nothing"]];
    const controls = [element("div", { class: "grow" }, field("Search", search)), chooser("Colour by", names, (name) => this.recolour(name))];
    if (this.data.clusters.length) {
      this.words = element("input", { type: "checkbox", checked: true, onchange: () => this.plane.draw() });
      controls.push(element("label", { class: "check" }, this.words, "cluster words"));
    }
    return part(`map-${this.index}`, named("The map", this.model),
      element("p", { class: "lead" }, "Each point is a text, where its latent lies. ", element("span", { class: "small" }, describe(this.data.projection))),
      element("div", { class: "row" }, ...controls),
      element("div", { class: "atlas" },
        element("div", { class: "plane" }, this.canvas, this.tip, element("div", { class: "tools" },
          tool("+", "Zoom in", () => this.plane.zoomBy(1.6)), tool("−", "Zoom out", () => this.plane.zoomBy(1 / 1.6)), tool("⤢", "Show all", () => this.plane.whole()))),
        this.side),
      this.legend);
  }

  listen() {
    const { canvas, plane } = this;
    let held = null;
    const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      plane.zoomBy(Math.exp(-clamp(event.deltaY, -120, 120) / 400), ...at(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      const [left, top] = at(event);
      held = { left, top, moved: 0, from: plane.toPlane(left, top), draws: this.onplane !== null && !event.shiftKey && this.mode?.() !== "move" };
    });
    canvas.addEventListener("pointermove", (event) => {
      const [left, top] = at(event);
      if (!held) { this.hover(left, top); return; }
      const [dx, dy] = [left - held.left, top - held.top];
      held.moved += Math.hypot(dx, dy);
      if (held.draws) { if (held.moved > CLICK_PIXELS) this.onplane(...plane.toPlane(left, top), held.from); } else if (held.moved > CLICK_PIXELS) plane.panBy(dx, dy);
      [held.left, held.top] = [left, top];
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!held) return;
      const clicked = held.moved <= CLICK_PIXELS;
      const [left, top] = at(event);
      if (clicked) {
        const row = this.rowAt(left, top);
        if (row >= 0) this.choose(row);
      }
      if (this.onplane && (clicked || held.draws)) this.onplane(...plane.toPlane(left, top), clicked ? null : held.from);
      held = null;
    });
    canvas.addEventListener("pointercancel", () => { held = null; });
    canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
      if (moves[event.key]) plane.panBy(...moves[event.key]);
      else if (event.key === "+" || event.key === "=") plane.zoomBy(1.3);
      else if (event.key === "-") plane.zoomBy(1 / 1.3);
      else if (event.key === "0") plane.whole();
      else if (event.key === "Enter") {
        const row = this.rowAt(plane.width / 2, plane.height / 2, Infinity);
        if (row >= 0) this.choose(row);
        this.onplane?.(...plane.focus);
      } else return;
      event.preventDefault();
    });
  }

  rowAt(left, top, pixels = 10) {
    const reach = Math.min(pixels / this.plane.scale, this.plane.span);
    return this.plane.nearest(...this.plane.toPlane(left, top), reach);
  }

  hover(left, top) {
    const row = this.rowAt(left, top);
    this.tip.hidden = row < 0;
    if (row < 0) return;
    this.tip.textContent = this.data.texts[row];
    const width = this.tip.offsetWidth;
    const x = clamp(left + 14, 4, Math.max(4, this.plane.width - width - 4));
    const below = top + 18 + this.tip.offsetHeight < this.plane.height;
    this.tip.style.transform = `translate(${x}px, ${below ? top + 18 : Math.max(4, top - this.tip.offsetHeight - 10)}px)`;
  }

  recolour(name) {
    const column = this.data.colours[name];
    if (!column) {
      this.plane.groups = [{ colour: channels(HUES[0]), rows: null }];
      this.legend.replaceChildren();
    } else {
      const { groups, legend } = coloured(numbers(column), this.data.categories[name]);
      this.plane.groups = groups;
      this.legend.replaceChildren(element("span", { class: "small" }, name), legendOf(legend));
    }
    this.plane.draw();
  }

  writeClusters(context) {
    if (this.words && !this.words.checked) return;
    const [ink, paper] = [colourOf("--ink"), colourOf("--paper")];
    const taken = [];
    const size = this.plane.width < 500 ? 11 : 13;
    for (const cluster of [...this.data.clusters].sort((one, other) => other.count - one.count)) {
      const [left, top] = this.plane.toScreen(cluster.x, cluster.y);
      const text = cluster.words.slice(0, 3).join(" · ");
      const half = text.length * size * 0.29;
      const box = [left - half, top - size, left + half, top + 4];
      if (box[0] < 2 || box[2] > this.plane.width - 2 || taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
      taken.push(box);
      this.plane.write(context, text, left, top, ink, paper, size);
    }
  }

  rest() {
    this.side.replaceChildren(element("p", { class: "note" }, "Choose a point to read its text and its nearest neighbours in the latent space."));
  }

  mark(rows, extra = []) {
    this.plane.found = [];
    this.plane.marks = [...rows.map((row, i) => ({ x: this.x[row], y: this.y[row], kind: i ? "near" : "chosen" })).reverse(), ...extra];
    this.plane.draw();
  }

  choose(row) {
    const width = this.data.neighbour_count;
    const near = this.near ? [...this.near.subarray(row * width, (row + 1) * width)] : [];
    const prediction = this.data.predictions?.[row];
    const facts = Object.entries(this.data.colours).map(([name, column]) => {
      const value = (this.decoded ??= new Map()).get(name) ?? this.decoded.set(name, numbers(column)).get(name);
      const category = this.data.categories[name];
      return `${name} ${category ? category[value[row]] : round(value[row])}`;
    });
    this.side.replaceChildren(
      written(this.data.texts[row], "div", "chosen texts"),
      prediction === undefined || prediction === this.data.texts[row] ? "" : element("p", { class: "small" }, "comes back as ", written(prediction)),
      element("p", { class: "note" }, facts.join(" · ")),
      near.length ? element("h3", {}, "Nearest latents") : "",
      this.list(near));
    this.mark([row, ...near]);
  }

  list(rows) {
    return element("ol", {}, ...rows.map((row) => element("li", {}, element("button", { type: "button", class: "texts", dir: "auto", onclick: () => this.choose(row) }, this.data.texts[row] || "(empty)"))));
  }

  search(words) {
    const wanted = words.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    if (!wanted.length) { this.mark([]); this.rest(); return; }
    this.lower ??= this.data.texts.map((text) => text.toLocaleLowerCase());
    const found = [];
    this.lower.forEach((text, row) => { if (wanted.every((word) => text.includes(word))) found.push(row); });
    this.side.replaceChildren(element("p", { class: "note", role: "status" }, `${countOf(found.length, "text")} found${found.length > SEARCH_LIMIT ? `, the first ${SEARCH_LIMIT} here` : ""}.`), this.list(found.slice(0, SEARCH_LIMIT)));
    this.plane.marks = [];
    this.plane.found = found.slice(0, FOUND_LIMIT);
    this.plane.draw();
  }
}
