// Sentences: what came back, how it depends on length, paths between two, samples.

const PAGE_LENGTH = 12;

function reconstructions(model, index) {
  const orders = {
    worst: (a, b) => b.error - a.error,
    best: (a, b) => a.error - b.error,
    given: null,
  };
  let rows = [...model.reconstructions].sort(orders.worst);
  let shown = PAGE_LENGTH;
  const list = element("ul", { class: "pairs" });
  const more = element("button", { type: "button", onclick: () => { shown += 4 * PAGE_LENGTH; fill(); } });
  function fill() {
    list.replaceChildren(...rows.slice(0, shown).map(difference));
    more.hidden = shown >= rows.length;
    more.textContent = `Show ${Math.min(4 * PAGE_LENGTH, rows.length - shown)} more`;
  }
  const choose = chooser("Order", [["worst", "most wrong first"], ["best", "most right first"], ["given", "as given"]], (order) => {
    rows = [...model.reconstructions];
    if (orders[order]) rows.sort(orders[order]);
    shown = PAGE_LENGTH;
    fill();
  });
  const exact = model.reconstructions.filter((row) => row.error === 0).length;
  fill();
  return part(`reconstructions-${index}`, named("What comes back", model),
    element("p", { class: "lead" }, `${exact.toLocaleString("en-US")} of ${countOf(model.reconstructions.length, "sentence")} come back as they were. `,
      element("del", {}, "Struck out"), " is what was lost, ", element("ins", {}, "underlined"), " what was written instead."),
    element("div", { class: "row" }, choose), list, more);
}

function difference(row) {
  const pieces = row.pieces.length ? row.pieces : [{ kind: "same", text: row.prediction }];
  return element("li", {}, fate(pieces),
    element("div", { class: "small" }, editsOf(row)));
}

const editsOf = ({ error }) => (error === 0 ? "exact" : `${round(error, 2)} edits for each word`);

function fate(pieces) {
  const names = { same: "span", missing: "del", added: "ins" };
  return element("div", { class: "texts", dir: "auto" }, ...pieces.flatMap(({ kind, text }) => {
    const words = text.trimStart(); // the blank before a word is not struck out with it
    return [text.slice(0, text.length - words.length), element(names[kind], {}, words)];
  }));
}

function lengths(model, index) {
  const isOpen = ({ high }) => high >= 1e9;
  const range = (group) => (isOpen(group) ? `${group.low} or more` : group.low === group.high ? `${group.low}` : `${group.low || 1} to ${group.high}`);
  const percent = (share) => (share === null ? null : 100 * share); // null: not measured
  const rows = model.lengths.map((group) => element("tr", {},
    element("td", {}, range(group)), element("td", {}, group.count ? group.count.toLocaleString("en-US") : "–"),
    element("td", {}, withUnit(percent(group.exact_match), "%")), element("td", {}, withUnit(percent(group.token_accuracy), "%"))));
  const steps = model.lengths.map((group) => (isOpen(group) ? group.low : ((group.low || 1) + group.high) / 2));
  const line = (key) => ({ steps, values: model.lengths.map((group) => percent(group[key])) });
  return part(`lengths-${index}`, named("By length", model),
    element("div", { class: "beside" },
      lineChart({ title: "Share that comes back", xLabel: "words", lines: { "exact sentences (%)": line("exact_match"), "tokens (%)": line("token_accuracy") } }),
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Accuracy by length, as a table" }, element("table", {}, element("thead", {}, element("tr", {},
        ...["words", "sentences", "exact", "tokens right"].map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...rows)))));
}

function strip(path) {
  const last = path.texts.length - 1;
  return element("div", { class: "strip" }, ...path.texts.flatMap((text, i) => [
    element("span", {}, path.positions[i].toFixed(2)),
    written(text, "span", i === 0 || i === last ? "texts end" : "texts"),
  ]));
}

function paths(model, index) {
  return part(`paths-${index}`, named("Between two sentences", model),
    element("p", { class: "lead" }, "Each line is decoded from a point on the path between the two ends."),
    ...model.paths.map(strip));
}

function samples(model, index) {
  return part(`samples-${index}`, named("Samples", model),
    element("p", { class: "lead" }, "Texts that the decoder writes from draws of the prior, each with the training sentence that is nearest to it."),
    sampleList(model.samples));
}

function sampleList(samples) {
  return element("ul", { class: "pairs" }, ...samples.map(({ text, nearest, similarity, copied }) => element("li", {},
    written(text, "div"),
    nearest === null ? null : element("div", { class: "small" }, copied ? "a copy" : element("span", {}, "nearest: ", written(nearest)),
      similarity === null || copied ? "" : ` (similarity ${round(similarity, 2)})`))));
}
