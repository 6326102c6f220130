// What the reader chose, and the controls that change it. A change redraws everything that shows it.

const newestOf = run => run.evaluations[run.evaluations.length - 1];
const allSets = data.runs.flatMap(run => run.evaluations.flatMap(e => e.sets));
const tableMetric = (data.tables.baseline ?? data.tables.models)?.metric;
const unbalanced = allSets.some(
    s => s.top1 !== null && s.mean_per_class !== null && Math.abs(s.top1 - s.mean_per_class) > 1e-9);

// Panels of the runs and of --models; those of the baseline table alone stand in fits.json only.
const usedPanels = () =>
    data.panels.filter(panel => panel.points.some(p => p.source !== "baseline"));

const chosen = {
  metric: tableMetric ?? (unbalanced ? "mean_per_class" : "top1"),
  transform: "logit",
  baseline: "standard",
  axis: "restricted",
  bars: true,
  line: data.tables.baseline === null,
  rows: "newest",
};

const kControls = {
  metric: {legend: "Metric", options: {top1: "top-1", mean_per_class: "mean per class"}},
  transform: {legend: "Axes", options: {logit: "logit", probit: "probit", linear: "linear"}},
  baseline: {legend: "Baseline", options: {standard: "standard", extended: "extended"},
             shown: () => data.tables.baseline !== null},
  axis: {legend: "Reference classes", options: {restricted: "those of the shift", full: "all"},
         shown: () => usedPanels().some(p => p.axis === "restricted")},
  rows: {legend: "Rows", options: {newest: "newest checkpoint", all: "all checkpoints"},
         shown: () => data.runs.some(r => r.evaluations.length > 1)},
};
const kSwitches = {bars: "95 % intervals", line: "line through checkpoints"};
const redraws = [];

function changed() {
  for (const input of document.querySelectorAll("[data-key]")) {
    const key = input.dataset.key;
    input.checked = input.type === "radio" ? input.value === chosen[key] : chosen[key];
  }
  for (const redraw of redraws) redraw();
}

function choiceControl(key, place) {
  const {legend, options, shown} = kControls[key];
  if (shown && !shown()) return null;
  return element("fieldset", {}, element("legend", {}, legend),
    element("div", {class: "choice"}, Object.entries(options).map(([value, label]) =>
      element("label", {},
        element("input", {type: "radio", name: `${key}-${place}`, value, "data-key": key,
                          checked: chosen[key] === value,
                          onchange: () => { chosen[key] = value; changed(); }}),
        element("span", {}, label)))));
}

function switchControls() {
  return Object.entries(kSwitches).map(([key, label]) => element("label", {class: "check"},
    element("input", {type: "checkbox", "data-key": key, checked: chosen[key],
                      onchange: event => { chosen[key] = event.target.checked; changed(); }}),
    label));
}

function addControls() {
  document.querySelectorAll("[data-controls]").forEach((node, place) => {
    for (const key of node.dataset.controls.split(" ")) {
      const controls = key === "show" ? switchControls() : [choiceControl(key, place)];
      node.append(...controls.filter(control => control !== null));
    }
  });
}

// The chosen metric of a set and its interval.
const valueOf = set => set[chosen.metric];
const intervalOf = set => set[`${chosen.metric}_ci95`];
