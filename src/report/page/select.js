// What the reader chose, and the controls that change it. A change redraws everything that shows it.

const newestOf = run => run.evaluations[run.evaluations.length - 1];

// Merged models. A curve is made of the interpolations between the same two checkpoints.
const mergeOf = run => newestOf(run)?.merge ?? null;
const familyOf = run => {
  const merge = mergeOf(run);
  return merge && merge.kind === "interpolate" && merge.alpha !== null ? merge.inputs.join("\n") : null;
};
const alphaOf = run => mergeOf(run).alpha;
const isBetween = run => familyOf(run) !== null && alphaOf(run) > 0 && alphaOf(run) < 1;
function families() {
  const found = new Map();
  for (const run of data.runs) {
    const family = familyOf(run);
    if (family === null) continue;
    if (!found.has(family)) found.set(family, []);
    found.get(family).push(run);
  }
  return [...found.values()].filter(runs => runs.length > 1).map(
      runs => runs.sort((a, b) => alphaOf(a) - alphaOf(b)));
}
// "runs/a/checkpoints/step-00000100" is a, or a step 100 where both ends are of one run.
function checkpointName(path, others) {
  const parts = path.split("/").filter(part => part);
  const step = /^step-(\d+)$/.exec(parts[parts.length - 1] ?? "");
  if (step) parts.pop();
  if (parts[parts.length - 1] === "checkpoints") parts.pop();
  const name = parts[parts.length - 1] ?? path;
  const alike = others.some(other => other !== path && other.includes(`/${name}/`));
  return name + (alike && step ? ` step ${Number(step[1])}` : "");
}
const mergeLabel = merge => merge.kind === "interpolate"
    ? merge.inputs.map(path => checkpointName(path, merge.inputs)).join(" → ")
    : `${merge.kind} soup of ${merge.inputs.length}`;
// Runs that stand for themselves; the inside of a curve is drawn as the curve.
const wholeRuns = () => {
  const whole = data.runs.filter(run => !isBetween(run));
  return whole.length > 0 ? whole : data.runs;
};

const allSets = data.runs.flatMap(run => run.evaluations.flatMap(e => e.sets));
const tableMetric = (data.tables.baseline ?? data.tables.models)?.metric;
const unbalanced = allSets.some(
    s => s.top1 !== null && s.mean_per_class !== null && Math.abs(s.top1 - s.mean_per_class) > 1e-9);

// Panels of the runs and of --models; those of the baseline table alone stand in fits.json only.
const usedPanels = () =>
    data.panels.filter(panel => panel.points.some(p => p.source !== "baseline"));

// Lines to measure effective robustness against: the table's two, and that of the supervised runs.
const baselineNames = [
  ...(data.tables.baseline ? ["standard", "extended"] : []),
  ...(data.panels.some(panel => panel.fits.some(fit => fit.baseline === "supervised")) ? ["supervised"] : [])];
const hasBaseline = baselineNames.length > 0;
const kBaselineWords = {
  standard: "standard models of the baseline table", extended: "extended models of the baseline table",
  supervised: "supervised runs",
};

// Above this many runs colours stand for kinds, and earlier checkpoints are left to the tables.
const kManyRuns = 12;
const kindOf = run => newestOf(run)?.merge ? "merged" : newestOf(run)?.kind ?? "contrastive";
const kinds = ["supervised", "contrastive", "merged"].filter(
    kind => data.runs.some(run => run.evaluations.length > 0 && kindOf(run) === kind));
const kKindSymbols = {contrastive: "circle", supervised: "square", merged: "triangle-up"};
const manyRuns = () => wholeRuns().length > kManyRuns;

const chosen = {
  metric: tableMetric ?? (unbalanced ? "mean_per_class" : "top1"),
  transform: "logit",
  baseline: baselineNames[0] ?? "standard",
  axis: "restricted",
  bars: true,
  line: !hasBaseline,
  rows: "newest",
};

const kControls = {
  metric: {legend: "Metric", options: {top1: "top-1", mean_per_class: "mean per class"}},
  transform: {legend: "Axes", options: {logit: "logit", probit: "probit", linear: "linear"}},
  baseline: {legend: "Baseline", options: Object.fromEntries(baselineNames.map(name => [name, name])),
             shown: () => baselineNames.length > 1},
  axis: {legend: "Reference classes", options: {restricted: "those of the shift", full: "all"},
         shown: () => usedPanels().some(p => p.axis === "restricted")},
  rows: {legend: "Rows", options: {newest: "newest checkpoint", all: "all checkpoints"},
         shown: () => data.runs.some(r => r.evaluations.length > 1)},
};
const kSwitches = {bars: "99.5 % intervals", line: "line through checkpoints"};
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
const barOf = set => set[`${chosen.metric}_ci995`] ?? intervalOf(set);
