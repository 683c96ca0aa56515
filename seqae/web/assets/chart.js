// A line chart: several named lines over one axis, with the values under the pointer.

const SIZE = { width: 420, height: 220, left: 46, right: 10, top: 10, bottom: 38 };

function ticks(low, high, count = 4) {
  const span = high - low || 1;
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) {
    found.push(Number(value.toPrecision(12)));
  }
  return found;
}

function logTicks(low, high) {
  const powers = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power += 1) powers.push(power);
  const inside = powers.filter((power) => power >= low && power <= high);
  return inside.length >= 2 ? inside : ticks(low, high, 3);
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${round(value / 1e6)} M`;
  if (size >= 1e4) return `${round(value / 1e3)} k`;
  return round(value);
}

function bounds(lists) {
  let low = Infinity;
  let high = -Infinity;
  for (const list of lists) for (const value of list) { low = Math.min(low, value); high = Math.max(high, value); }
  return low <= high ? [low, high] : [0, 1];
}

// lines: {name: {steps, values}}; returns a figure. `colours` keeps a name's colour over charts.
function lineChart({ title, lines: given, xLabel, yLabel = "", meaning = "", colours = null }) {
  const lines = Object.fromEntries(Object.entries(given).map(([name, line]) => [name, finite(line)]));
  const names = Object.keys(lines).filter((name) => lines[name].values.length > 0);
  const allValues = names.map((name) => lines[name].values);
  const canLog = bounds(allValues)[0] > 0;
  let isLog = false;
  const colour = (name, i) => (colours && colours.get(name)) || hueOf(i);
  const readout = element("div", { class: "readout", "aria-live": "off" });
  const picture = svg("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, tabindex: 0, role: "slider", "aria-label": `${title} by ${xLabel}`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 100, "aria-valuetext": summary() });
  const toggle = canLog && element("button", { class: "small", type: "button", "aria-pressed": "false", onclick: () => {
    isLog = !isLog;
    toggle.setAttribute("aria-pressed", String(isLog));
    draw();
  } }, "log");

  function summary() {
    return names.map((name) => `${name} ends at ${round(lines[name].values.at(-1))}`).join(", ");
  }

  let scale;
  function draw() {
    picture.replaceChildren();
    const of = isLog ? Math.log10 : (value) => value;
    const [x0, x1] = bounds(names.map((name) => lines[name].steps));
    let [y0, y1] = bounds(allValues.map((values) => values.map(of)));
    const margin = (y1 - y0) * 0.06 || Math.abs(y1) * 0.1 || 1;
    [y0, y1] = [y0 - margin, y1 + margin];
    if (!isLog && canLog && y0 < 0) y0 = 0;
    const x = (value) => SIZE.left + ((value - x0) / (x1 - x0 || 1)) * (SIZE.width - SIZE.left - SIZE.right);
    const y = (value) => SIZE.height - SIZE.bottom - ((value - y0) / (y1 - y0)) * (SIZE.height - SIZE.top - SIZE.bottom);
    scale = { x0, x1 };
    for (const value of isLog ? logTicks(y0, y1) : ticks(y0, y1)) {
      picture.append(svg("line", { class: "axis", x1: SIZE.left, x2: SIZE.width - SIZE.right, y1: y(value), y2: y(value) }));
      picture.append(svg("text", { x: SIZE.left - 6, y: y(value) + 4, "text-anchor": "end" }, short(isLog ? 10 ** value : value)));
    }
    for (const value of ticks(x0, x1)) {
      picture.append(svg("text", { x: x(value), y: SIZE.height - 22, "text-anchor": "middle" }, short(value)));
    }
    picture.append(svg("text", { class: "label", x: SIZE.width - SIZE.right, y: SIZE.height - 5, "text-anchor": "end" }, xLabel));
    names.forEach((name, i) => {
      const { steps, values } = lines[name];
      const at = values.map((value, k) => `${x(steps[k]).toFixed(1)},${y(of(value)).toFixed(1)}`);
      if (at.length === 1) {
        const [cx, cy] = at[0].split(",");
        picture.append(svg("circle", { cx, cy, r: 3.5, fill: colour(name, i) }));
      } else picture.append(svg("polyline", { class: "line", points: at.join(" "), stroke: colour(name, i) }));
    });
    picture.append(svg("line", { class: "cursor", x1: 0, x2: 0, y1: SIZE.top, y2: SIZE.height - SIZE.bottom, visibility: "hidden" }));
  }

  const inner = SIZE.width - SIZE.left - SIZE.right;
  let read = 1; // of the axis, from 0 to 1
  function tell(share) {
    read = clamp(share, 0, 1);
    const at = SIZE.left + read * inner;
    const step = scale.x0 + read * (scale.x1 - scale.x0);
    const cursor = picture.querySelector(".cursor");
    cursor.setAttribute("visibility", "visible");
    for (const key of ["x1", "x2"]) cursor.setAttribute(key, at);
    const said = names.map((name) => `${name} ${round(nearestValue(lines[name], step))}`);
    readout.textContent = `${xLabel} ${round(step)}: ${said.join(" · ")}`;
    picture.setAttribute("aria-valuenow", Math.round(100 * read));
    picture.setAttribute("aria-valuetext", readout.textContent);
  }
  function hush() {
    picture.querySelector(".cursor").setAttribute("visibility", "hidden");
    readout.textContent = "";
  }
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    tell((((event.clientX - box.left) / box.width) * SIZE.width - SIZE.left) / inner);
  });
  picture.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, Home: -1, End: 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    tell(read + moves[event.key]);
  });
  picture.addEventListener("pointerleave", hush);
  picture.addEventListener("blur", hush);
  draw();
  const legend = names.length > 1 && !colours ? legendOf(names.map((name, i) => [name, colour(name, i)])) : null;
  return element("figure", { class: "chart" },
    element("div", { class: "name" }, title, toggle || ""),
    picture, readout, legend,
    meaning || yLabel ? element("figcaption", {}, [yLabel && `Upwards: ${yLabel}.`, meaning].filter(Boolean).join(" ")) : null);
}

// A line without the values that are no numbers, as of a training that went astray.
function finite({ steps, values }) {
  const kept = values.map((value, i) => i).filter((i) => Number.isFinite(values[i]) && Number.isFinite(steps[i]));
  return { steps: kept.map((i) => steps[i]), values: kept.map((i) => values[i]) };
}

function nearestValue({ steps, values }, step) {
  let best = 0;
  steps.forEach((value, i) => { if (Math.abs(value - step) < Math.abs(steps[best] - step)) best = i; });
  return values[best];
}

function legendOf(entries) {
  const items = entries.map(([name, colour]) => {
    const patch = element("i", {});
    patch.style.background = colour;
    return element("li", {}, patch, name);
  });
  return element("ul", { class: "legend" }, ...items);
}
