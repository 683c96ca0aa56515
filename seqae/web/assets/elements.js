// Elements: every text goes in as text, never as HTML.

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A text of unknown language: the browser takes its direction from its letters.
const written = (text, name = "span", kind = "texts") =>
  element(name, { class: kind, dir: "auto" }, text === "" ? "(empty)" : text);

// A line of ours: what stands between backticks is a command.
const withCode = (line) => line.split("`").map((piece, i) => (i % 2 ? element("code", {}, piece) : piece));

const sections = [];

// A section of the page, with its place in the list of contents.
function part(id, title, ...children) {
  sections.push([id, title]);
  const heading = element("h2", { id: `${id}-title` }, title);
  return element("section", { class: "part", id, "aria-labelledby": `${id}-title` }, heading, ...children);
}

function field(label, control) {
  return element("label", { class: "field" }, label, control);
}

function chooser(label, names, onchange) {
  const options = names.map(([value, name]) => element("option", { value }, name));
  const select = element("select", { onchange: () => onchange(select.value) }, ...options);
  return field(label, select);
}

// Colours as the theme has them now, for what is drawn on a canvas. They are kept until it changes:
// to ask for one makes the browser lay out the page, which a moving map cannot wait for.
const themeColours = new Map();

function colourOf(variable) {
  if (!themeColours.has(variable)) themeColours.set(variable, colourNow(variable));
  return themeColours.get(variable);
}

function colourNow(variable) {
  const probe = element("span", { hidden: true });
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

// Twelve hues, as many as clusters, that colour-blind people can tell apart in this order, on light and dark.
const HUES = ["#3b76c4", "#d9812c", "#3a9a5f", "#c2504f", "#8a63b8", "#8d6e63", "#d16ba5", "#7d8794", "#a5a02c", "#2fa3b5", "#5560b8", "#d98c98"];
// Dark to light, even in lightness, as viridis is.
const RAMP = [[104, 72, 158], [60, 92, 154], [44, 114, 142], [33, 145, 140], [53, 174, 115], [138, 190, 62], [222, 178, 32]];

function ramp(share) {
  const place = clamp(share, 0, 1) * (RAMP.length - 1);
  const low = Math.min(Math.floor(place), RAMP.length - 2);
  return RAMP[low].map((value, i) => Math.round(value + (RAMP[low + 1][i] - value) * (place - low)));
}
const rgb = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;
const hueOf = (index) => HUES[index % HUES.length];
const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
