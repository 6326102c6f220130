// Tables: all results, the fitted lines, models and their effective robustness, recall by class.

const pointOf = (run, evaluation, set) => data.panels.flatMap(
    panel => panel.x_set === set.reference && panel.y_set === set.name ? panel.points : []).find(
    p => p.source === "run" && p.type === run.name && p.step === evaluation.step &&
         p.metric === chosen.metric);

function resultRow(run, evaluation, set, several, baseline) {
  const reference = evaluation.sets.find(s => s.name === set.reference);
  const gap = reference && valueOf(set) !== null && valueOf(reference) !== null
      ? 100 * (valueOf(set) - valueOf(reference)) : null;
  const cells = [
    textCell(set.name), ...(several ? [textCell(run.name)] : []),
    {value: evaluation.step, show: count(evaluation.step)}, textCell(set.role),
    {value: set.n, show: count(set.n)}, {value: set.classes},
    shareCell(set.top1), intervalCell(set.top1_ci95), shareCell(set.top5),
    shareCell(set.mean_per_class), intervalCell(set.mean_per_class_ci95),
    {value: gap, show: signed(gap, 1)}];
  if (baseline) {
    const point = set.reference ? pointOf(run, evaluation, set) : null;
    const far = point ? departure(point) : null;
    cells.push({value: far ? 100 * far[0] : null, show: signed(far ? 100 * far[0] : null, 1)},
               {value: far ? far[1] : null, show: signed(far ? far[1] : null, 2)});
  }
  cells.push({value: set.skipped});
  return cells;
}

function drawResults() {
  const several = data.runs.length > 1, baseline = hasBaseline;
  const columns = [
    {name: "set", text: true}, ...(several ? [{name: "run", text: true}] : []), {name: "step"},
    {name: "role", text: true}, {name: "n"}, {name: "classes"}, {name: "top-1 %", csv: "top1"},
    {name: "95 %", csv: "top1_ci95"}, {name: "top-5 %", csv: "top5"},
    {name: "mean/class %", csv: "mean_per_class"}, {name: "95 %", csv: "mean_per_class_ci95"},
    {name: "gap pp", csv: "gap_pp", title: "chosen metric, shift minus reference"},
    ...(baseline ? [{name: "eff. rob. pp", csv: "effective_robustness_pp"},
                    {name: "residual", csv: "residual"}] : []),
    {name: "skipped"}];
  const rows = data.runs.flatMap(run => run.evaluations.flatMap(evaluation =>
      chosen.rows === "newest" && evaluation !== newestOf(run) ? [] :
      evaluation.sets.map(set => resultRow(run, evaluation, set, several, baseline))));
  const parent = byId("table-results");
  parent.replaceChildren();
  addTable(parent, "results", columns, rows, [
    element("b", {}, "Results. "),
    "n is the number of images scored, skipped those that could not be decoded. The gap is the " +
    `${metricName(chosen.metric)} on the shift minus that on its reference.` +
    (baseline ? ` Effective robustness and residual: against the ${chosen.baseline} baseline on ` +
                `${chosen.transform} axes.` : "")]);
}

// What is no accuracy over classes: one column a measure that some set has.
function drawOthers() {
  const measures = [...new Set(allSets.flatMap(set => Object.keys(set.others)))].filter(
      name => name !== "macro_f1" || allSets.some(set => set.layout === "iwildcam"));
  if (measures.length === 0) return;
  const rows = data.runs.flatMap(run => run.evaluations.flatMap(evaluation =>
      chosen.rows === "newest" && evaluation !== newestOf(run) ? [] :
      evaluation.sets.filter(set => measures.some(name => name in set.others)).map(set => [
        textCell(set.name), textCell(run.name), {value: evaluation.step, show: count(evaluation.step)},
        {value: set.n, show: count(set.n)}, ...measures.map(name => shareCell(set.others[name] ?? null))])));
  addTable(byId("table-results"), "other-measures", [
    {name: "set", text: true}, {name: "run", text: true}, {name: "step"}, {name: "n"},
    ...measures.map(name => ({name: `${name.replaceAll("_", " ").replace("@", " @ ")} %`, csv: name}))], rows, [
    element("b", {}, "Other measures. "),
    "Recall at k: image, the share of captions whose image is among the first k; text, the share of images " +
    "with one of their captions among the first k. Worst region and year: least accuracy of a group with images. " +
    "Macro F1: mean over the classes that occur. Mean average precision: over all classes."]);
}

function drawFits() {
  const parent = byId("fits");
  parent.replaceChildren();
  const rows = shownPanels().flatMap(panel =>
      [...baselineFits(panel), ...(chosen.line ? checkpointFits(panel) : [])].map(fit => [
        textCell(columnName(panel.y)), textCell(columnName(panel.x)),
        textCell(fit.run ? `checkpoints of ${fit.run}` : fit.baseline +
                 (fit.baseline === "supervised" ? " runs" : "") +
                 (fit.piece === "all" ? "" : `, ${fit.piece} the knee`)),
        {value: fit.n}, {value: fit.slope, show: fixed(fit.slope, 3)},
        {value: fit.slope_ci95 ? fit.slope_ci95[0] : null,
         show: fit.slope_ci95 ? `[${fit.slope_ci95.map(s => fixed(s, 3)).join(", ")}]` : "–",
         csv: fit.slope_ci95 ? fit.slope_ci95.join(" to ") : ""},
        {value: fit.intercept, show: fixed(fit.intercept, 3)},
        {value: fit.r2, show: fit.r2 === null ? "–" : fit.r2.toFixed(3)}]));
  if (rows.length === 0) return;
  addTable(parent, "fits", [
    {name: "shift", text: true}, {name: "reference", text: true}, {name: "fitted to", text: true},
    {name: "n"}, {name: "slope"}, {name: "95 %", csv: "slope_ci95"}, {name: "intercept"},
    {name: "R²", csv: "r2"}], rows, [
    element("b", {}, "Lines "), `on ${chosen.transform} axes; intervals from 1000 bootstrap ` +
    "resamples of the points."]);
}

// One row a model or run: accuracy and distance from the line on each shift, and the means over them.
const rowKey = p => p.source === "run" ? `run\n${p.type}` : `models\n${p.name}`;

function modelRow(key, panels) {
  const points = panels.map(panel => panel.points.filter(
      p => p.source !== "baseline" && rowKey(p) === key && p.metric === chosen.metric).pop());
  const far = points.map(p => p ? departure(p) : undefined);
  const mean = values => values.length > 0 ? values.reduce((sum, v) => sum + v, 0) / values.length : null;
  const known = far.filter(f => f);
  const first = points.find(p => p);
  const shift = mean(points.filter(p => p).map(p => p.y));
  const cells = [textCell(first?.name ?? key.split("\n")[1]),
                 textCell(first ? (first.source === "run" ? first.kind : typeName(first.type)) : null),
                 shareCell(shift)];
  if (hasBaseline) {
    const rho = mean(known.map(f => f[0])), residual = mean(known.map(f => f[1]));
    cells.push({value: rho === null ? null : 100 * rho, show: signed(rho === null ? null : 100 * rho, 1)},
               {value: residual, show: signed(residual, 2)});
  }
  points.forEach((p, i) => {
    if (newAxis(panels, i)) cells.push(shareCell(points.find((q, k) => q && panels[k].x === panels[i].x)?.x));
    cells.push(shareCell(p?.y), intervalCell(p?.y_ci95), {value: p?.y_n, show: count(p?.y_n)});
    if (hasBaseline) {
      cells.push({value: far[i] ? 100 * far[i][0] : null,
                  show: signed(far[i] ? 100 * far[i][0] : null, 1)},
                 {value: far[i]?.[1], show: signed(far[i]?.[1], 2)});
    }
    if (hasTau(panels[i])) {
      cells.push({value: p && p.tau !== null ? 100 * p.tau : null,
                  show: signed(p && p.tau !== null ? 100 * p.tau : null, 1)});
    }
  });
  return cells;
}
const hasTau = panel => panel.points.some(p => p.source === "models" && p.tau !== null);

// A reference stands once, before the first shift that is compared with it.
const newAxis = (panels, i) => panels.findIndex(panel => panel.x === panels[i].x) === i;

function modelColumns(panels) {
  const baseline = hasBaseline;
  const columns = [{name: "model", text: true}, {name: "type", text: true},
                   {name: "mean shift %", csv: "mean_shift"}];
  if (baseline) {
    columns.push({name: "mean eff. rob. pp", csv: "mean_effective_robustness_pp"},
                 {name: "mean residual", csv: "mean_residual"});
  }
  panels.forEach((panel, i) => {
    if (newAxis(panels, i)) columns.push({name: `${columnName(panel.x)} %`, csv: panel.x});
    columns.push({name: `${columnName(panel.y)} %`, csv: panel.y},
                 {name: "95 %", csv: `${panel.y}_ci95`}, {name: "n", csv: `${panel.y}_n`});
    if (baseline) {
      columns.push({name: "eff. rob. pp", csv: `${panel.y}_effective_robustness_pp`},
                   {name: "residual", csv: `${panel.y}_residual`});
    }
    if (hasTau(panel)) columns.push({name: "rel. rob. pp", csv: `${panel.y}_relative_robustness_pp`});
  });
  return columns;
}

function drawModels() {
  const parent = byId("models");
  parent.replaceChildren();
  const panels = shownPanels().filter(panel => panel.points.some(p => p.source !== "baseline"));
  const keys = [...new Set(panels.flatMap(panel => panel.points.filter(
      p => p.source !== "baseline" && p.metric === chosen.metric).map(rowKey)))];
  if (keys.length === 0) return;
  addTable(parent, "models", modelColumns(panels), keys.map(key => modelRow(key, panels)), [
    element("b", {}, "Models "),
    (data.tables.models ? `of ${data.tables.models.path} and runs at their newest evaluation` :
                          "at their newest evaluation") + ": accuracy on reference and shift" +
    (hasBaseline ? `, effective robustness and residual against the ${chosen.baseline} ` +
        `baseline on ${chosen.transform} axes, and their plain mean over the shifts that have them. ` +
        "Percentage points shrink at low accuracy: below 40 % compare residuals." :
        ", and the plain mean over the shifts.")]);
}

let recallRun = null;
function drawClasses() {
  const runs = wholeRuns().filter(r => r.classes.length > 0);
  if (runs.length === 0) return;
  byId("classes").hidden = false;
  const one = runs.find(r => r.name === recallRun) ?? runs[0];
  const parent = byId("table-classes");
  parent.replaceChildren();
  if (runs.length > 1) {
    parent.append(element("div", {class: "controls"}, selectControl(
        "Run", runs.map(r => ({value: r.name, label: r.name})), one.name,
        name => { recallRun = name; drawClasses(); })));
  }
  const names = [...new Set(one.classes.flatMap(set => set.names))];
  const tallies = one.classes.map(set => {
    const tally = new Map();
    set.names.forEach((name, c) => {  // a name may stand for two classes
      const before = tally.get(name) ?? [0, 0];
      tally.set(name, [before[0] + set.correct[c], before[1] + set.n[c]]);
    });
    return tally;
  });
  const rows = names.map(name => [textCell(name), ...tallies.map(tally => {
    const [correct, n] = tally.get(name) ?? [0, 0];
    if (n === 0) return {value: null, show: "–", class: "muted"};
    return {value: correct / n, class: "recall", style: `--share: ${(100 * correct / n).toFixed(1)}%`,
            show: [`${percent(correct / n, 0)} `, element("small", {}, `${correct}/${n}`)]};
  })]);
  addTable(parent, "recall-by-class", [
    {name: "class", text: true}, ...one.classes.map(set => ({name: set.set}))], rows, [
    element("b", {}, `Recall by class, ${one.name}. `),
    "Percent of the images of a class that were given this class in the newest evaluation, and " +
    "the counts; a dash where the set has no image of it. A class of 10 images has a 95 % " +
    "interval of about ± 30 points."]);
}

function addTables() {
  if (evaluatedRuns().length > 0) {
    byId("results").hidden = false;
    redraws.push(drawResults, drawOthers);
  }
  redraws.push(drawFits, drawModels, drawArms);
  drawClasses();
}
