// Run against run on the same images, class by class, and arm against arm.

const pValue = p => p === null || p === undefined ? "–"
    : p < 1e-4 ? "< 0.0001" : p < 0.1 ? p.toPrecision(2) : p.toFixed(2);
const pCell = p => ({value: p, show: pValue(p)});
const points = share => ({value: 100 * share, show: signed(100 * share, 1)});
const pointsInterval = ci => ({value: ci ? 100 * ci[0] : null, csv: ci ? `${100 * ci[0]} to ${100 * ci[1]}` : "",
                               show: ci ? `[${ci.map(v => signed(100 * v, 1)).join(", ")}]` : "–"});

function pairedRow(pair, clustered) {
  return [textCell(pair.second), textCell(pair.first), textCell(pair.set), {value: pair.n, show: count(pair.n)},
          ...(clustered ? [{value: pair.clusters, show: count(pair.clusters)}] : []),
          shareCell(pair.accuracy_second), shareCell(pair.accuracy_first), points(pair.difference),
          pointsInterval(pair.ci95), textCell(pair.verdict), {value: pair.only_second, show: count(pair.only_second)},
          {value: pair.only_first, show: count(pair.only_first)}, pCell(pair.mcnemar_p),
          pCell(pair.holm_p)];
}

function addPaired() {
  const clustered = data.paired.some(pair => pair.clusters !== null);
  addTable(byId("table-paired"), "paired", [
    {name: "run", text: true}, {name: "against", text: true}, {name: "set", text: true}, {name: "n"},
    ...(clustered ? [{name: "clusters"}] : []), {name: "run %", csv: "accuracy"},
    {name: "against %", csv: "accuracy_against"}, {name: "difference pp", csv: "difference_pp"},
    {name: "95 %", csv: "difference_pp_ci95"}, {name: "verdict", text: true}, {name: "run only", csv: "only_run_right"},
    {name: "against only", csv: "only_against_right"}, {name: "McNemar p", csv: "mcnemar_p"},
    {name: "Holm p", csv: "holm_p"}],
    data.paired.map(pair => pairedRow(pair, clustered)), [
    element("b", {}, "Same images, two runs. "),
    "Top-1 of the newest evaluations over the images that both scored. The interval is a paired " +
    "bootstrap of the images (2000 resamples" + (clustered ? "; whole clusters where the set names " +
    "them, and then no McNemar test, which takes images as independent" : "") + "), p the exact " +
    "McNemar test on the images that only one of the two has right, and Holm's p the same, held " +
    "together over all rows of this table. Verdict: effect when the interval excludes 0, no effect " +
    "when it lies within ± 2 points, else not resolved. It is about two trained models, not about " +
    "how they were trained: that needs several seeds an arm."]);
}

let classPair = 0;
function drawClassDifferences() {
  const parent = byId("table-class-differences");
  parent.replaceChildren();
  const pair = data.paired[classPair];
  const rows = pair.class_names.map((name, c) => ({
    name, n: pair.class_n[c], first: pair.class_only_first[c], second: pair.class_only_second[c],
    p: pair.class_p[c]})).sort((a, b) => Math.abs(b.second - b.first) / b.n - Math.abs(a.second - a.first) / a.n);
  parent.append(element("h3", {}, "By class"), element("div", {class: "controls"}, selectControl(
      "Runs and set", data.paired.map((p, i) => ({value: String(i), label: `${p.second} against ${p.first}, ${p.set}`})),
      String(classPair), value => { classPair = Number(value); drawClassDifferences(); })));
  const low = rows.filter(row => row.p < 0.05).length;
  addTable(parent, "differences-by-class", [
    {name: "class", text: true}, {name: "n"}, {name: "difference pp", csv: "difference_pp"},
    {name: "run only", csv: "only_run_right"}, {name: "against only", csv: "only_against_right"},
    {name: "McNemar p", csv: "mcnemar_p"}],
    rows.map(row => [textCell(row.name), {value: row.n, show: count(row.n)},
                     points((row.second - row.first) / row.n), {value: row.second}, {value: row.first}, pCell(row.p)]), [
    element("b", {}, `Recall of ${pair.second} minus recall of ${pair.first} on ${pair.set}, by class. `),
    `Images that only one of the two has right, and the exact test on them, for each class alone: ` +
    `${count(low)} of ${count(rows.length)} classes have p below 0.05, and about ` +
    `${(rows.length / 20).toFixed(1)} would by chance.`]);
}

function addComparison() {
  if (data.paired.length === 0) return;
  byId("comparison").hidden = false;
  addPaired();
  drawClassDifferences();
}

const kMeasures = {reference: "accuracy on reference, pp", shift: "accuracy on shift, pp",
                   effective_robustness: "effective robustness, pp", residual: "residual"};

function armRow(c) {
  const scale = c.measure === "residual" ? 1 : 100, digits = c.measure === "residual" ? 3 : 1;
  const value = v => ({value: v === null ? null : scale * v, show: v === null ? "–" : fixed(scale * v, digits)});
  return [textCell(columnName(c.y)), textCell(kMeasures[c.measure]), textCell(c.second), textCell(c.first),
          {value: scale * c.difference, show: signed(scale * c.difference, digits)},
          {value: c.ci95 ? scale * c.ci95[0] : null, csv: c.ci95 ? `${scale * c.ci95[0]} to ${scale * c.ci95[1]}` : "",
           show: c.ci95 ? `[${c.ci95.map(v => signed(scale * v, digits)).join(", ")}]` : "–"},
          textCell(c.verdict), pCell(c.p), {value: c.n_second}, {value: c.n_first},
          value(c.mean_second), value(c.mean_first),
          {value: c.models_needed, show: c.models_needed === null ? "–" : count(c.models_needed)}];
}

function drawArms() {
  const parent = byId("arms");
  parent.replaceChildren();
  const shown = shownPanels();
  const contrasts = data.contrasts.filter(c => c.metric === chosen.metric &&
      (c.transform === null || (c.transform === chosen.transform && c.baseline === chosen.baseline)) &&
      shown.some(panel => panel.x === c.x && panel.y === c.y));
  if (contrasts.length === 0) return;
  addTable(parent, "arms", [
    {name: "shift", text: true}, {name: "measure", text: true}, {name: "arm", text: true},
    {name: "against", text: true}, {name: "difference"}, {name: "95 %", csv: "difference_ci95"},
    {name: "verdict", text: true}, {name: "p"}, {name: "models", csv: "models"},
    {name: "against", csv: "models_against"}, {name: "mean"}, {name: "against", csv: "mean_against"},
    {name: "models needed", csv: "models_needed"}], contrasts.map(armRow), [
    element("b", {}, "Arm against arm. "),
    "Models that differ by the seed alone make one arm: runs of one name before -seedN, rows of one " +
    "arm (or type) in the table. Welch's t interval and test of the difference of means over models. " +
    "Effect: the interval excludes 0; no effect: it lies within ± 2 points (residuals: " +
    "± 0.10 logit, as much at 50 % on probit axes); else not resolved, with the models an arm that " +
    "the margin needs if the spread stays. Only no effect supports that something does not matter. " +
    "The tests are not adjusted for their number."]);
}
