// The page itself: its head, its sections in order, the theme.

function themeButton() {
  const root = document.documentElement;
  const stored = (() => { try { return localStorage.getItem("seqae-theme"); } catch { return null; } })();
  const isDark = () => root.style.colorScheme === "dark" || (root.style.colorScheme === "" && matchMedia("(prefers-color-scheme: dark)").matches);
  if (stored === "dark" || stored === "light") root.style.colorScheme = stored;
  const button = element("button", { type: "button", onclick: () => {
    root.style.colorScheme = isDark() ? "light" : "dark";
    try { localStorage.setItem("seqae-theme", root.style.colorScheme); } catch { /* a sandbox keeps nothing */ }
    label();
    repaint("draw")();
  } });
  const label = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  label();
  return button;
}

const atlases = [];
const repaint = (how) => () => {
  themeColours.clear();
  atlases.forEach((atlas) => atlas.plane[how]());
};
matchMedia("print").addEventListener("change", repaint("paint")); // at once: a printer does not wait
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint("draw"));

function build() {
  const main = document.getElementById("content");
  const made = [];
  const models = (PAYLOAD.models ??= []);
  const runs = PAYLOAD.runs ?? [];
  models.forEach((model) => { if (model.map) atlases.push(new Atlas(model, models.indexOf(model))); });
  if (API) made.push(reading(atlases));
  const maps = atlases.map((atlas) => {
    const section = atlas.section();
    if (API) section.querySelector(".row").before(...playing(atlas));
    return section;
  });
  if (API) made.push(...maps, workshop());
  models.forEach((model, i) => { if (model.facts?.length || model.measures?.length || model.notes?.length) made.push(glance(model, i)); });
  if (!API) made.push(...maps);
  models.forEach((model, i) => {
    for (const [key, section] of [["reconstructions", reconstructions], ["lengths", lengths], ["curves", curvesOf], ["paths", paths], ["samples", samples]]) {
      if (model[key]?.length) made.push(section(model, i));
    }
  });
  if (runs.length) made.push(training(runs));
  main.append(...made);
  const order = made.map((section) => section.id);
  sections.sort(([one], [other]) => order.indexOf(one) - order.indexOf(other));
  document.querySelector(".contents").append(element("ul", {}, ...sections.map(([id, title]) => element("li", {}, element("a", { href: `#${id}` }, title)))));
  document.querySelector(".masthead").append(element("h1", {}, PAYLOAD.title ?? "seqae"), themeButton());
  document.querySelector(".colophon").append(`Made by seqae ${PAYLOAD.version ?? ""}${PAYLOAD.made ? `, ${PAYLOAD.made}` : ""}. ${API ? "Everything stays between this page and your own server." : "The page fetches nothing; everything it shows is in this file."}`);
  document.documentElement.dataset.ready = "true";
}

build();
