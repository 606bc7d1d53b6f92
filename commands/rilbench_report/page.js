"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const chips = [...document.querySelectorAll(".chip[data-strategy]")];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const hidden = new Set(); // numbers of strategies
const BANDS = 2;

// Colours by what a trace is; the strategy's number chooses from the palette of page.css.
const paint = {
  line: (trace, colour) => { trace.line.color = trace.marker.color = colour; },
  points: (trace, colour) => { trace.marker.color = colour; },
  band: (trace, colour) => { trace.fillcolor = `${colour}26`; trace.opacity = 1; },
  runs: (trace, colour) => { trace.marker.color = colour; trace.opacity = 0.4; },
  mean: (trace, colour) => { trace.marker.color = colour; trace.marker.line = { color: css("--surface"), width: 1 }; },
  front: (trace) => { trace.line.color = css("--muted"); },
  heat: (trace) => { trace.colorscale = [0, 0.5, 1].map((at, i) => [at, css(`--heat-${i}`)]); },
};

function themed(figure) {
  const { data: traces, layout } = structuredClone(figure);
  const shown = traces.filter((trace) => trace.meta.role === "band" && !hidden.has(trace.meta.strategy));
  const bands = new Set(shown.sort((one, other) => one.meta.strategy - other.meta.strategy).slice(0, BANDS));
  for (const trace of traces) {
    paint[trace.meta.role](trace, css(`--s${trace.meta.strategy % 8}`));
    trace.visible = !hidden.has(trace.meta.strategy) && (trace.meta.role !== "band" || bands.has(trace));
  }
  const axis = { gridcolor: css("--line"), linecolor: css("--line"), zerolinecolor: css("--line"), fixedrange: true };
  Object.assign(layout, {
    font: { color: css("--text"), family: "system-ui, sans-serif", size: 12 },
    paper_bgcolor: css("--surface"),
    plot_bgcolor: css("--surface"),
    hoverlabel: { bgcolor: css("--surface"), bordercolor: css("--line"), font: { color: css("--text") } },
    xaxis: { ...layout.xaxis, ...axis },
    yaxis: { ...layout.yaxis, ...axis },
  });
  return [traces, layout];
}

function draw() {
  const order = byId("order").selectedIndex;
  for (const box of document.querySelectorAll(".plot")) {
    const name = box.dataset.plot, figure = data.figures[name];
    if (data.alts[name]) box.setAttribute("aria-label", data.alts[name][order]);
    const [traces, layout] = themed(Array.isArray(figure) ? figure[order] : figure);
    Plotly.react(box, traces, layout, {
      responsive: true,
      displaylogo: false,
      displayModeBar: box.classList.contains("small") ? false : "hover",
      modeBarButtons: [["toImage"]],
    });
  }
}

byId("order").addEventListener("change", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

function toggle(chosen, isShown) {
  const strategies = new Set(chosen.map((chip) => Number(chip.dataset.strategy)));
  for (const strategy of strategies) if (isShown(strategy)) hidden.delete(strategy); else hidden.add(strategy);
  for (const chip of chips) chip.setAttribute("aria-pressed", String(!hidden.has(Number(chip.dataset.strategy))));
  draw();
}

for (const chip of chips) chip.addEventListener("click", () => toggle([chip], (strategy) => hidden.has(strategy)));
for (const [name, isShown] of [["all", () => true], ["none", () => false]])
  for (const button of document.querySelectorAll(`.chip.${name}`)) button.addEventListener("click", () => toggle(chips, isShown));
draw();

// Images: two strategies side by side, one slider for the stages of both.
const { uris, runs } = data.pictures;
const caseOf = (run) => `${run.order}, seed ${run.seed}`;
const distinct = (values) => [...new Set(values)];
const fill = (select, names) => select.replaceChildren(...names.map((name) => new Option(name, name)));

function picture(run, stage, i) {
  const figure = document.createElement("figure"), image = new Image(), caption = document.createElement("figcaption");
  image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 128);
  image.src = uris[run.pictures[stage][i]];
  image.alt = `${run.strategy} after ${run.stages[stage]}: ${run.prompts[i]}`;
  caption.textContent = caption.title = run.prompts[i];
  figure.append(image, caption);
  return figure;
}

function show() {
  const slider = byId("stage"), panes = [...document.querySelectorAll(".pane")];
  const shown = panes.map((pane) =>
    runs.find((run) => caseOf(run) === byId("case").value && run.strategy === pane.querySelector("select").value));
  slider.max = Math.max(1, ...shown.map((run) => (run ? run.stages.length - 1 : 0)));
  const told = panes.map((pane, side) => {
    const run = shown[side], last = run ? run.stages.length - 1 : 0, stage = Math.min(slider.value, last);
    const text = run ? `Stage ${stage} of ${last}: ${run.stages[stage]}` : "This file has no images of this run.";
    pane.querySelector(".stage").textContent = text;
    const pictures = run ? run.pictures[stage].map((_, i) => picture(run, stage, i)) : [];
    pane.querySelector(".pictures").replaceChildren(...pictures);
    return text;
  });
  slider.setAttribute("aria-valuetext", told.join("; "));
}

if (runs.length) {
  const strategies = distinct(runs.map((run) => run.strategy));
  fill(byId("case"), distinct(runs.map(caseOf)));
  document.querySelectorAll(".pane select").forEach((select, side) => {
    fill(select, strategies);
    select.selectedIndex = Math.min(side, strategies.length - 1);
    select.addEventListener("change", show);
  });
  byId("case").addEventListener("change", show);
  byId("stage").addEventListener("input", show);
  show();
}

// Prompts: a table of the worst and the best of a run, stage and metric.
const byPrompt = ["run", "stage", "metric"].map((name) => byId(`prompt-${name}`));

function element(name, content, attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...[content].flat());
  return made;
}

function thumbnail(number, alt) {
  if (number === null) return "-";
  const image = new Image();
  image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 128);
  return Object.assign(image, { src: uris[number], alt });
}

function promptTable() {
  const [run, stage, metric] = byPrompt.map((select) => select.value);
  const after = data.prompts.runs[run].stages[stage], [worst, best] = after.metrics[metric];
  const head = ["prompt", "base", after.name, "change", "base", after.name];
  const title = (text) => element("tr", element("th", text, { colSpan: head.length, scope: "colgroup" }));
  const row = ([text, base, value, change, ...pictures]) => {
    const prompt = data.prompts.texts[text], names = ["base", after.name];
    const cells = [base, value, change, ...pictures.map((number, i) => thumbnail(number, `${names[i]}: ${prompt}`))];
    return element("tr", [element("th", prompt, { scope: "row" }), ...cells.map((cell) => element("td", cell))]);
  };
  const rows = [title("worst"), ...worst.map(row), ...(best.length ? [title("best"), ...best.map(row)] : [])];
  const names = element("tr", head.map((text) => element("th", text, { scope: "col" })));
  byId("by-prompt").replaceChildren(element("table", [element("thead", names), element("tbody", rows)]));
}

function promptChoices() {
  const [run, stage, metric] = byPrompt, chosen = [stage.selectedIndex, metric.value];
  const { stages } = data.prompts.runs[run.value];
  stage.replaceChildren(...stages.map(({ name }, i) => new Option(name, i)));
  stage.selectedIndex = chosen[0] >= 0 && chosen[0] < stages.length ? chosen[0] : stages.length - 1;
  fill(metric, Object.keys(stages[stage.value].metrics));
  if (chosen[1] in stages[stage.value].metrics) metric.value = chosen[1];
  promptTable();
}

if (data.prompts.runs.length) {
  byPrompt[0].replaceChildren(...data.prompts.runs.map(({ name }, i) => new Option(name, i)));
  for (const select of byPrompt) select.addEventListener("change", promptChoices);
  promptChoices();
}
