// At a glance: what the model is, what was measured, how its training went.

const VERDICTS = { good: "✓ good", fair: "~ fair", poor: "✗ poor", unknown: "not judged" };

function glance(model, index) {
  const facts = (model.facts ?? []).flatMap(({ name, value }) => [element("dt", {}, name), element("dd", { dir: "auto" }, value)]);
  const title = PAYLOAD.models.length > 1 ? `At a glance: ${model.name}` : "At a glance";
  return part(`glance-${index}`, title,
    element("dl", { class: "facts" }, ...facts),
    element("ul", { class: "cards" }, ...(model.measures ?? []).map(measureCard)),
    ...(model.notes ?? []).map((note) => element("p", { class: "note" }, ...withCode(note))));
}

function measureCard(measure) {
  const { group, name, value, unit, baseline, verdict, meaning, reason } = measure;
  return element("li", { class: "card" },
    element("div", { class: "group" }, group),
    element("div", { class: "top" }, element("span", {}, name),
      element("span", { class: `verdict ${verdict}` }, VERDICTS[verdict])),
    element("div", { class: "figure" }, withUnit(value, unit)),
    unit === "%" ? shareBar(value, baseline) : null,
    baseline === null || baseline === undefined ? null : element("p", {}, `${measure.baseline_name ?? "baseline"}: ${withUnit(baseline, unit)}`),
    element("p", {}, meaning),
    reason ? element("p", {}, reason) : null);
}

function shareBar(value, baseline) {
  const filled = element("i", {});
  filled.style.width = `${clamp(value, 0, 100)}%`;
  const bar = element("div", { class: "bar", "aria-hidden": "true" }, filled);
  if (baseline !== null && baseline !== undefined) {
    const mark = element("b", {});
    mark.style.left = `${clamp(baseline, 0, 99.5)}%`;
    bar.append(mark);
  }
  return bar;
}

const FIRST_CURVES = ["val/loss", "train/loss", "val/exact_match", "val/token_accuracy", "lr", "train/tokens_per_second"];

function training(runs) {
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.series)))];
  const rank = (key) => { const at = FIRST_CURVES.indexOf(key); return at < 0 ? FIRST_CURVES.length : at; };
  keys.sort((one, other) => rank(one) - rank(other) || one.localeCompare(other));
  const colours = new Map(runs.map((run, i) => [run.name, hueOf(i)]));
  const charts = keys.map((key) => {
    const having = runs.filter((run) => run.series[key]);
    return lineChart({ title: key, xLabel: "step", colours, lines: Object.fromEntries(having.map((run) => [run.name, run.series[key]])) });
  });
  const shown = 6;
  const rest = element("div", { class: "charts", hidden: true }, ...charts.slice(shown));
  const more = element("button", { type: "button", "aria-expanded": "false", onclick: () => {
    rest.hidden = !rest.hidden;
    more.setAttribute("aria-expanded", String(!rest.hidden));
    more.textContent = rest.hidden ? `Show ${charts.length - shown} more curves` : "Show fewer curves";
  } }, `Show ${charts.length - shown} more curves`);
  return part("training", "Training",
    runs.length > 1 ? legendOf(runs.map((run) => [run.name, colours.get(run.name)])) : null,
    element("div", { class: "charts" }, ...charts.slice(0, shown)),
    ...(charts.length > shown ? [element("div", { class: "row" }, more), rest] : []));
}

function curvesOf(model, index) {
  return part(`curves-${index}`, named("Robustness and collapse", model),
    element("div", { class: "charts" }, ...model.curves.map((curve) => lineChart({
      title: curve.title, lines: curve.lines, xLabel: curve.x_label, yLabel: curve.y_label, meaning: curve.meaning,
    }))));
}

const named = (title, model) => (PAYLOAD.models.length > 1 ? `${title}: ${model.name}` : title);
