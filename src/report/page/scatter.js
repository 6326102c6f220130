// Accuracy on a shift against accuracy on its reference, one panel a shift.

const kTypeNames = {
  STANDARD: "standard", ROBUST_INTV: "robustness intervention", MORE_DATA: "more data",
  LOW_ACCURACY_CNN: "low accuracy", LP_ADV: "adversarially trained",
};
const kOtherTypes = ["RANDOM_FEATURES", "RANDOM_FORESTS", "LINEAR_PIXELS", "NEAREST_NEIGHBORS"];
const typeName = type => kTypeNames[type] ??
    (kOtherTypes.includes(type) ? "not a network" : type.toLowerCase().replaceAll("_", " "));

// With and without class restriction a shift has two panels; the reader chooses.
function shownPanels() {
  const used = usedPanels();
  return used.filter(panel => panel.axis === chosen.axis ||
                              !used.some(p => p.y === panel.y && p.axis === chosen.axis));
}

const shownPoints = panel => panel.points.filter(
    p => p.metric === chosen.metric && hasPlace(chosen.transform, p.x) &&
         hasPlace(chosen.transform, p.y));
const leftOut = panel => panel.points.filter(
    p => p.metric === chosen.metric &&
         !(hasPlace(chosen.transform, p.x) && hasPlace(chosen.transform, p.y))).map(p => p.name);

// Lines of the chosen baseline; where a knee is known its two pieces.
function baselineFits(panel) {
  const fits = panel.fits.filter(f => f.transform === chosen.transform &&
      f.baseline === chosen.baseline && f.metric === chosen.metric);
  const pieces = fits.filter(f => f.piece !== "all");
  return pieces.length > 0 ? pieces : fits;
}
const checkpointFits = panel => panel.fits.filter(
    f => f.transform === chosen.transform && f.baseline === "checkpoints" &&
         f.metric === chosen.metric);
const departure = point => point.departures[`${chosen.baseline}/${chosen.transform}`];

// The range holds every point but the rest of the baseline table below the fitted models, which the
// extended baseline brings into view.
const barOfPoint = (p, axis) => p[`${axis}_ci995`] ?? p[`${axis}_ci95`];
function extent(panel, axis) {
  const values = [];
  const fits = baselineFits(panel);
  const least = chosen.baseline === "standard" && fits.length > 0
      ? Math.min(...fits.map(f => f.fitted[0])) : 0;
  for (const p of shownPoints(panel)) {
    if (p.source === "baseline" && p.x < least) continue;
    values.push(place(chosen.transform, p[axis]));
    // Bars of a few images reach far towards 0: they do not set the range alone.
    const ci = barOfPoint(p, axis);
    if (p.source === "run" && chosen.bars && ci) {
      values.push(placeInside(chosen.transform, Math.max(ci[0], p[axis] / 3)));
      values.push(placeInside(chosen.transform, Math.min(ci[1], 1 - (1 - p[axis]) / 3)));
    }
  }
  const lo = Math.min(...values), hi = Math.max(...values);
  const pad = 0.05 * (hi - lo) || 0.1;
  return [lo - pad, hi + pad];
}

function pointHover(panel, p) {
  const far = departure(p);
  const lines = [
    `<b>${p.name}</b> (${p.source === "run" ? p.kind : typeName(p.type)})`,
    `${columnName(panel.y)} ${percent(p.y)} % ${interval(p.y_ci95)}${p.y_n ? `, n = ${count(p.y_n)}` : ""}`,
    `${columnName(panel.x)} ${percent(p.x)} % ${interval(p.x_ci95)}${p.x_n ? `, n = ${count(p.x_n)}` : ""}`];
  if (far) {
    lines.push(`effective robustness ${signed(100 * far[0], 1)} pp, residual ${signed(far[1], 2)}`);
  }
  return lines.join("<br>");
}

// Intervals are computed in accuracy and then placed, so their bars are not symmetric.
function errorBars(points, axis, colour, thickness) {
  const far = (p, end) => {
    const ci = barOfPoint(p, axis);
    if (!ci) return 0;
    return Math.abs(placeInside(chosen.transform, ci[end]) - place(chosen.transform, p[axis]));
  };
  return {type: "data", symmetric: false, array: points.map(p => far(p, 1)),
          arrayminus: points.map(p => far(p, 0)), color: colour, thickness, width: 0,
          visible: chosen.bars};
}

function pointTrace(panel, points, cell, name, colour, style) {
  return {
    x: points.map(p => place(chosen.transform, p.x)),
    y: points.map(p => place(chosen.transform, p.y)), xaxis: cell.x, yaxis: cell.y, name,
    legendgroup: name, hoverinfo: "text", text: points.map(p => pointHover(panel, p)),
    error_x: errorBars(points, "x", withAlpha(colour, style.barAlpha), style.thickness),
    error_y: errorBars(points, "y", withAlpha(colour, style.barAlpha), style.thickness),
    mode: "markers",
    marker: {color: style.colours ?? colour, size: style.size, symbol: style.symbol ?? "circle",
             opacity: style.opacity ?? 1, line: {color: colour, width: style.edge ?? 0}},
  };
}

function tableTraces(panel, cell, colours) {
  const points = shownPoints(panel).filter(p => p.source !== "run");
  const groups = new Map();
  for (const p of points) {
    const key = typeKey(p);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(p);
  }
  const types = tableTypes().filter(key => key !== kStandard);
  return tableTypes().filter(key => groups.has(key)).map(key => {
    const [source, type] = key.split("\n");
    const colour = key === kStandard ? colours.standard
                                     : colours.types[types.indexOf(key) % colours.types.length];
    const ours = source === "models";
    return pointTrace(panel, groups.get(key), cell, type, colour, {
      size: ours ? 8 : 5.5, opacity: ours ? 0.95 : 0.75, barAlpha: ours ? 0.5 : 0.22, thickness: 1,
      symbol: ours ? "diamond" : "circle"});
  });
}

// Source and type of a table's point; the standard models come first and are drawn below the rest.
const typeKey = p => `${p.source}\n${typeName(p.type)}`;
const kStandard = "baseline\nstandard";
function tableTypes() {
  const keys = shownPanels().flatMap(
      panel => panel.points.filter(p => p.source !== "run").map(typeKey));
  return [...new Set(keys)].sort((a, b) => (b === kStandard) - (a === kStandard) ||
                                           a.localeCompare(b, "en"));
}

// The curve between two checkpoints, in the order of alpha.
function familyTraces(panel, cell, colours) {
  return families().flatMap(runs => {
    const points = runs.flatMap(run => shownPoints(panel).filter(
        p => p.source === "run" && p.type === run.name).slice(-1));
    if (points.length === 0) return [];
    const colour = runColour(colours, runs[0].name), name = mergeLabel(mergeOf(runs[0]));
    const trace = pointTrace(panel, points, cell, name, colour, {size: 7, barAlpha: 0.35, thickness: 1});
    return [{...trace, mode: "lines+markers", line: {color: withAlpha(colour, 0.6), width: 1.5}}];
  });
}

// The newest checkpoint of every run, one trace a kind.
function kindTraces(panel, cell, colours) {
  const inCurve = new Set(families().flat().map(run => run.name));
  const newest = data.runs.filter(run => !inCurve.has(run.name)).flatMap(run => shownPoints(panel).filter(
      p => p.source === "run" && p.type === run.name).slice(-1));
  return kinds.flatMap(kind => {
    const points = newest.filter(p => p.kind === kind);
    return points.length === 0 ? [] : [pointTrace(panel, points, cell, `${kind} runs`, kindColour(colours, kind), {
      size: 8, opacity: 0.9, barAlpha: 0.3, thickness: 1, symbol: kKindSymbols[kind]})];
  });
}

function runTraces(panel, cell, colours) {
  if (manyRuns()) return kindTraces(panel, cell, colours);
  const inCurve = new Set(families().flat().map(run => run.name));
  return data.runs.filter(run => !inCurve.has(run.name)).flatMap(run => {
    const points = shownPoints(panel).filter(p => p.source === "run" && p.type === run.name);
    if (points.length === 0) return [];
    const colour = runColour(colours, run.name);
    const last = points.length - 1, symbol = kKindSymbols[kindOf(run)];
    const fill = points.map((_, i) => withAlpha(colour, 0.1 + 0.6 * i / (last || 1)));
    const earlier = pointTrace(panel, points.slice(0, last), cell, `${run.name}, earlier`, colour, {
      colours: fill, edge: 1, size: 6, barAlpha: 0.2, thickness: 1, symbol});
    const path = {...lineTrace({slope: 0, intercept: 0}, 0, 0, cell, {}), legendgroup: run.name,
                  x: points.map(p => place(chosen.transform, p.x)),
                  y: points.map(p => place(chosen.transform, p.y)),
                  line: {color: withAlpha(colour, 0.5), width: 1}};
    const newest = pointTrace(panel, [points[last]], cell, run.name, colour,
                              {size: 11, barAlpha: 0.9, thickness: 1.6, symbol});
    return [path, {...earlier, name: undefined, legendgroup: run.name, showlegend: false}, newest];
  });
}

function lineTrace(fit, from, to, cell, style) {
  const y = z => fit.slope * z + fit.intercept;
  return {x: [from, to], y: [y(from), y(to)], xaxis: cell.x, yaxis: cell.y, mode: "lines",
          hoverinfo: "skip", showlegend: false, ...style};
}

function fitTraces(fit, cell, range, colours) {
  const t = chosen.transform;
  const start = Math.max(range[0], fit.lo === null ? -Infinity : place(t, fit.lo));
  const end = Math.min(range[1], fit.hi === null ? Infinity : place(t, fit.hi));
  if (start >= end) return [];
  const inside = [Math.max(start, placeInside(t, fit.fitted[0])),
                  Math.min(end, placeInside(t, fit.fitted[1]))];
  const band = {x: fit.grid, xaxis: cell.x, yaxis: cell.y, mode: "lines", hoverinfo: "skip",
                showlegend: false, line: {width: 0, color: colours.line}};
  const line = {color: colours.line, width: 1.8};
  const dashed = {line: {...line, width: 1.2, dash: "4px,3px"}};
  const traces = [
    {...band, y: fit.band_lo},
    {...band, y: fit.band_hi, fill: "tonexty", fillcolor: withAlpha(colours.line, 0.14)}];
  if (inside[0] < inside[1]) traces.push(lineTrace(fit, inside[0], inside[1], cell, {line}));
  if (start < inside[0]) traces.push(lineTrace(fit, start, Math.min(inside[0], end), cell, dashed));
  if (inside[1] < end) traces.push(lineTrace(fit, Math.max(inside[1], start), end, cell, dashed));
  return traces;
}

function panelTraces(panel, cell, colours) {
  const xs = extent(panel, "x"), ys = extent(panel, "y");
  const dots = room => Math.max(3, Math.round(room));
  Object.assign(cell.xaxis, {range: xs, ...accuracyTicks(chosen.transform, ...xs, dots(cell.width / 48))});
  Object.assign(cell.yaxis, {range: ys, ...accuracyTicks(chosen.transform, ...ys, dots(cell.height / 36))});
  cell.title(`<b>${panel.y_set ?? columnName(panel.y)}</b>`);
  cell.xaxis.title = {...cell.xaxis.title, text: `${panel.x_set ?? columnName(panel.x)} (%)`};
  cell.yaxis.title = {...cell.yaxis.title, text: cell.column === 0 ? "shift (%)" : ""};
  const traces = [{x: xs, y: xs, xaxis: cell.x, yaxis: cell.y, mode: "lines", hoverinfo: "skip",
                   showlegend: false, line: {color: colours.soft, width: 1, dash: "dash"}}];
  for (const fit of baselineFits(panel)) traces.push(...fitTraces(fit, cell, xs, colours));
  if (chosen.line) {
    for (const fit of checkpointFits(panel)) {
      traces.push(lineTrace(fit, ...xs, cell,
                            {line: {color: runColour(colours, fit.run), width: 1.4, dash: "dot"}}));
    }
  }
  traces.push(...tableTraces(panel, cell, colours), ...familyTraces(panel, cell, colours),
              ...runTraces(panel, cell, colours));
  return traces;
}

function buildScatter(width, colours) {
  const panels = shownPanels().filter(panel => shownPoints(panel).length > 0);
  const inCurve = new Set(families().flat().map(run => run.name));
  const runNames = manyRuns() ? kinds.map(kind => `${kind} runs`)
      : data.runs.filter(run => !inCurve.has(run.name)).map(run => run.name);
  const names = [...runNames,
                 ...families().map(runs => mergeLabel(mergeOf(runs[0]))), ...tableTypes().map(key => key.split("\n")[1])];
  const {layout, cells} = panelGrid(Math.max(panels.length, 1), width, colours, {
    narrowest: 250, most: 3, aspect: 0.95, legendRows: names.length > 1 ? legendRows(names, width) : 0});
  layout.showlegend = names.length > 1;
  const traces = [], named = new Set();
  panels.forEach((panel, i) => {
    for (const trace of panelTraces(panel, cells[i], colours)) {
      if (trace.name) {
        trace.showlegend = !named.has(trace.name);
        named.add(trace.name);
      }
      traces.push(trace);
    }
  });
  if (panels.length === 0) cells[0].title("no point has this metric");
  return {data: traces, layout};
}

const kSymbolWords = {contrastive: "circles", supervised: "squares", merged: "triangles"};

function scatterCaption() {
  const panels = shownPanels();
  const parts = [
    `Accuracy on each shift against accuracy on its reference (${metricName(chosen.metric)}), on ` +
    `${chosen.transform} axes with ticks at accuracies in percent. Dashed: equal accuracy. ` +
    (manyRuns() ? "One point a run, its newest checkpoint."
         : "Points joined by a line are the checkpoints of a run, paler when earlier, the newest largest.") +
    (kinds.length > 1 ? ` Runs by kind: ${kinds.map(kind => `${kind} ${kSymbolWords[kind]}`).join(", ")}.` : "")];
  if (chosen.bars) parts.push(" Bars: 99.5 % intervals, computed in accuracy and then placed on the axes; tables hold those of 95 %.");
  const baseline = data.tables.baseline;
  if (hasBaseline && panels.some(panel => baselineFits(panel).length > 0)) {
    parts.push(` Solid line: least squares through the ${kBaselineWords[chosen.baseline]}, with its ` +
               "95 % bootstrap band; broken where no model was fitted.");
  } else if (baseline) {
    parts.push(` No line: the ${chosen.baseline} baseline has none for these sets with ` +
               `${metricName(chosen.metric)} (its table holds ${metricName(baseline.metric)}).`);
  }
  if (chosen.line) {
    parts.push(" Dotted: least squares through a run's checkpoints, which are steps of one training " +
               "and not independent models.");
  }
  const missing = panels.flatMap(panel => leftOut(panel).map(name => `${name} (${panel.y})`));
  if (missing.length > 0) {
    parts.push(` Left out, because an accuracy of exactly 0 or 1 has no place on ${chosen.transform} ` +
               `axes: ${missing.slice(0, 12).join(", ")}` +
               (missing.length > 12 ? ` and ${missing.length - 12} more.` : "."));
  }
  return parts;
}

function addScatter() {
  if (usedPanels().length === 0) return;
  byId("robustness").hidden = false;
  addFigure("fig-scatter", "accuracy-under-shift", buildScatter, scatterCaption);
}
