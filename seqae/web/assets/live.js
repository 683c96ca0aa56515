// With a model behind the page: write a sentence, decode a point, walk, add, sample, summarize.

function input(label, value = "", attributes = {}) {
  const control = element("input", { type: "text", value, ...attributes });
  return [element("div", { class: "grow" }, field(label, control)), control];
}

function number(label, value, attributes) {
  const control = element("input", { type: "number", value, ...attributes });
  return [field(label, control), control];
}

// Tokens shaded by how sure the decoder was: the fainter the ground, the surer.
function tokenLine(tokens) {
  return element("div", { class: "tokens texts", dir: "auto" }, ...tokens.map(({ token, probability }) => {
    const made = element("span", { title: `${(100 * probability).toFixed(1)} %` }, token);
    made.style.backgroundColor = `color-mix(in srgb, var(--missing) ${Math.round(100 * (1 - probability))}%, transparent)`;
    return made;
  }));
}

function reading(atlases) {
  const [box, sentence] = input("A sentence", "", { required: true, maxlength: 2000, placeholder: "the cat sat on the mat" });
  const show = (answers) => [element("div", { class: "beside" }, ...answers.map(({ answer, name }, i) => {
    const [row] = answer;
    if (row.latent_xy) atlases.find((atlas) => atlas.index === i)?.mark([], [{ x: row.latent_xy[0], y: row.latent_xy[1], kind: "chosen", label: "yours" }]);
    return element("div", {},
      answers.length > 1 ? element("h3", {}, name) : null,
      element("div", { class: "decoded" }, element("div", { class: "says" }, fate(row.pieces)), element("p", { class: "small" }, editsOf(row)), tokenLine(row.tokens)),
      row.neighbours?.length ? element("h3", {}, "Nearest texts") : null,
      element("ul", { class: "pairs" }, ...(row.neighbours ?? []).slice(0, 5).map(({ text, similarity }) => element("li", {}, written(text), element("span", { class: "small" }, ` ${round(similarity, 2)}`)))));
  }))];
  const problem = element("p", { class: "problem", role: "alert" });
  const answer = element("div", { "aria-live": "polite" });
  const submit = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      const answers = await Promise.all(PAYLOAD.models.map(async ({ name }, model) => ({ name, answer: await call("reconstruct", { texts: [sentence.value], model }) })));
      answer.replaceChildren(...show(answers));
    } catch (error) { problem.textContent = error.message; }
  };
  return part("write", "Write a sentence",
    element("p", { class: "lead" }, "It becomes a vector, and is written back from that vector alone. The darker the ground of a token, the less sure the decoder was."),
    element("form", { onsubmit: submit }, element("div", { class: "row" }, box, element("button", { class: "primary", type: "submit" }, "Write it back"))), problem, answer);
}

// Makes the map a keyboard of the decoder; returns what stands above it.
function playing(atlas) {
  const says = element("div", { class: "says texts", dir: "auto" }, "Click anywhere on the map: that point is decoded.");
  const about = element("div", { class: "small" });
  const problem = element("p", { class: "problem", role: "alert" });
  let mode = "decode";
  let first = null;
  const failed = (error) => { problem.textContent = error.message; };
  const decode = newestOnly("decode_point", (answer, asked) => {
    problem.textContent = "";
    says.replaceChildren(answer.tokens?.length ? tokenLine(answer.tokens) : answer.text || "(empty)");
    const noise = answer.noise === null ? "" : `decoded at noise ${round(answer.noise)}; `;
    about.textContent = `${noise}${round(answer.distance, 2)} away from the nearest text (cosine)`;
    atlas.mark([], [{ x: asked.x, y: asked.y, kind: "chosen" }]);
  }, failed);
  const strips = element("div", { "aria-live": "polite" });
  const walk = newestOnly("interpolate", (answer) => {
    problem.textContent = "";
    strips.replaceChildren(strip(answer));
  }, failed);
  const model = atlas.index;
  atlas.mode = () => mode;
  const path = (a, b) => {
    atlas.mark([], [{ ...a, kind: "chosen", label: "from" }, { ...b, kind: "chosen", label: "to" }]);
    walk({ a, b, steps: 7, model });
    first = null;
  };
  atlas.onplane = (x, y, from = null) => {
    if (mode === "decode") { decode({ x, y, model }); return; }
    if (mode === "walk") {
      if (from) {
        path({ x: from[0], y: from[1] }, { x, y });
        says.textContent = "Your path is below. Drag again for another.";
        return;
      }
      if (!first) {
        first = { x, y };
        atlas.mark([], [{ x, y, kind: "chosen", label: "from" }]);
        says.textContent = "Now click where the path ends.";
        return;
      }
      path(first, { x, y });
      says.textContent = "The path is below. Click for another beginning, or drag.";
    }
  };
  const modes = { decode: "decode", walk: "walk between two", move: "move the map" };
  const tabs = Object.entries(modes).map(([key, label]) => element("button", { type: "button", "aria-pressed": String(key === mode), onclick: () => {
    mode = key;
    first = null;
    tabs.forEach((tab, i) => tab.setAttribute("aria-pressed", String(Object.keys(modes)[i] === mode)));
    if (mode === "walk") says.textContent = "Drag from one place to another, or click where a path begins.";
  } }, label));
  return [
    element("div", { class: "tabs", role: "group", "aria-label": "What a click or a drag on the map does" }, ...tabs),
    element("div", { class: "decoded", "aria-live": "polite" }, says, about, problem), strips];
}

function workshop() {
  const [fromBox, from] = input("From", "", { required: true });
  const [toBox, to] = input("To", "", { required: true });
  const [plusBox, plus] = input("Add (several: put ; between)", "", { required: true });
  const [minusBox, minus] = input("Take away", "");
  const [countBox, count] = number("Texts", 8, { min: 1, max: 50 });
  const [heatBox, heat] = number("Temperature", "", { min: 0, max: 5, step: 0.1, placeholder: "greedy" });
  const [noiseBox, noise] = number("Noise", "", { min: 0, max: 2, step: 0.05, placeholder: "the prior’s" });
  const [lengthBox, longest] = number("Tokens at most", "", { min: 3, max: 512, placeholder: "the model’s" });
  const [seedBox, seed] = number("Seed", 0, { min: 0, max: 4294967295 });
  const document_ = element("textarea", { required: true, maxlength: 20000, "aria-label": "A text to summarize" });
  const [sentencesBox, sentences] = number("Sentences", 2, { min: 1, max: 20 });
  const list = (text) => text.split(";").map((piece) => piece.trim()).filter(Boolean);
  const optional = (control) => (control.value === "" ? {} : { [control.dataset.key]: Number(control.value) });
  for (const [control, key] of [[heat, "temperature"], [noise, "noise"], [longest, "max_length"]]) control.dataset.key = key;
  let model = 0;
  const which = PAYLOAD.models.length > 1
    ? element("div", { class: "row" }, chooser("Model", PAYLOAD.models.map(({ name }, i) => [String(i), name]), (chosen) => { model = Number(chosen); })) : null;
  return part("workshop", "Workshop", which,
    element("h3", {}, "Between two sentences"),
    asking("interpolate", [fromBox, toBox], () => ({ a: from.value, b: to.value, steps: 7, model }), (answer) => [strip(answer)], "Walk"),
    element("h3", {}, "Arithmetic"),
    asking("arithmetic", [plusBox, minusBox], () => ({ plus: list(plus.value), minus: list(minus.value), model }), (answer) => [element("div", { class: "decoded" }, written(answer.text, "div", "says texts"))], "Add"),
    element("h3", {}, "Samples"),
    asking("sample", [countBox, heatBox, noiseBox, lengthBox, seedBox],
      () => ({ count: Number(count.value), seed: Number(seed.value), model, ...optional(heat), ...optional(noise), ...optional(longest) }),
      (answer) => [sampleList(answer)], "Draw"),
    element("h3", {}, "Summary"),
    document_,
    asking("summarize", [sentencesBox], () => ({ text: document_.value, sentences: Number(sentences.value), model }), summary, "Summarize"));
}

// The summary, and under it the text with the sentences that each of its sentences stands for.
function summary({ sentences, evidence, document: inputs }) {
  const used = new Set(evidence.flat());
  return [
    element("div", { class: "decoded" }, ...sentences.map((sentence) => written(sentence, "p"))),
    inputs.length ? element("p", { class: "evidence texts", dir: "auto" }, ...inputs.flatMap((sentence, i) => [used.has(i) ? element("mark", {}, sentence) : sentence, " "])) : "",
  ];
}
