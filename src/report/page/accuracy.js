// Accuracies of the newest evaluation, and over the checkpoints.

function setNames(runs) {
  const names = [];
  for (const run of runs) {
    for (const evaluation of run.evaluations) {
      for (const set of evaluation.sets) if (!names.includes(set.name)) names.push(set.name);
    }
  }
  return names;
}

const evaluatedRuns = () => wholeRuns().filter(run => run.evaluations.length > 0);

function setHover(run, evaluation, set) {
  return `<b>${set.name}</b>${set.role === "reference" ? " (reference)" : ""}<br>` +
         `${run.name}${evaluation.step === null ? "" : `, step ${count(evaluation.step)}`}<br>` +
         `${metricName(chosen.metric)} ${percent(valueOf(set))} % ${interval(intervalOf(set))}<br>` +
         `n = ${count(set.n)}, ${set.classes} classes`;
}

function buildNewest(width, colours) {
  const runs = evaluatedRuns();
  if (manyRuns()) return buildNewestByKind(runs, width, colours);
  const names = setNames(runs).filter(
      name => runs.some(run => newestOf(run).sets.some(set => set.name === name)));
  const rows = runs.length > 1 ? legendRows(runs.map(run => run.name), width) : 0;
  const step = runs.length > 1 ? 16 * runs.length + 14 : 30;
  const longest = Math.max(...names.map(name => name.length));
  const left = Math.min(20 + 6.8 * longest, width * 0.4);
  const bottom = 46 + (rows > 0 ? 14 + 20 * rows : 0);
  const layout = baseLayout(colours, names.length * step + 16 + bottom,
                            {l: left, r: 12, t: 10, b: bottom});
  layout.width = width;
  layout.showlegend = runs.length > 1;
  layout.xaxis = {...axisStyle(colours), ticksuffix: " %", rangemode: "tozero", nticks: width < 520 ? 5 : 10,
                  title: {...axisStyle(colours).title, text: metricName(chosen.metric)}};
  layout.yaxis = {...axisStyle(colours), range: [names.length - 0.5, -0.5], showgrid: false,
                  tickvals: names.map((_, i) => i), ticktext: names, ticks: "",
                  tickfont: {color: colours.ink}};
  const traces = [];
  runs.forEach((run, r) => {
    const evaluation = newestOf(run);
    // Shifts first: the legend shows the first marker, a full one.
    const sets = evaluation.sets.filter(set => valueOf(set) !== null).sort(
        (a, b) => (a.role === "reference") - (b.role === "reference"));
    const colour = runColour(colours, run.name);
    const offset = runs.length > 1 ? (r - (runs.length - 1) / 2) * (16 / step) : 0;
    const far = (set, end) => {
      const ci = barOf(set);
      return ci ? 100 * Math.abs(ci[end] - valueOf(set)) : 0;
    };
    traces.push({
      x: sets.map(set => 100 * valueOf(set)), y: sets.map(set => names.indexOf(set.name) + offset),
      name: run.name, mode: "markers", hoverinfo: "text",
      text: sets.map(set => setHover(run, evaluation, set)),
      marker: {color: sets.map(set => set.role === "reference" ? colours.paper : colour), size: 9,
               line: {color: colour, width: 2}},
      error_x: {type: "data", symmetric: false, array: sets.map(set => far(set, 1)),
                arrayminus: sets.map(set => far(set, 0)), color: colour, thickness: 1.6, width: 4},
    });
    if (r > 0) return;
    for (const set of sets) {
      if (set.classes < 1) continue;
      const y = names.indexOf(set.name), x = 100 / set.classes;
      layout.shapes.push({type: "line", x0: x, x1: x, y0: y - 0.38, y1: y + 0.38,
                          line: {color: colours.soft, width: 1.5, dash: "dot"}});
    }
  });
  return {data: traces, layout};
}

// Many runs: one row a kind and set, one point a run, hovering tells which.
function buildNewestByKind(runs, width, colours) {
  const names = setNames(runs), step = 20 * kinds.length + 14;
  const rows = legendRows(kinds, width), bottom = 60 + 20 * rows;
  const left = Math.min(20 + 6.8 * Math.max(...names.map(name => name.length)), width * 0.4);
  const layout = baseLayout(colours, names.length * step + 16 + bottom, {l: left, r: 12, t: 10, b: bottom});
  layout.width = width;
  layout.showlegend = true;
  layout.xaxis = {...axisStyle(colours), ticksuffix: " %", rangemode: "tozero", nticks: width < 520 ? 5 : 10,
                  title: {...axisStyle(colours).title, text: metricName(chosen.metric)}};
  layout.yaxis = {...axisStyle(colours), range: [names.length - 0.5, -0.5], showgrid: false,
                  tickvals: names.map((_, i) => i), ticktext: names, ticks: "", tickfont: {color: colours.ink}};
  const traces = kinds.map((kind, k) => {
    const rowsOfKind = runs.filter(run => kindOf(run) === kind).flatMap(run => newestOf(run).sets.filter(
        set => valueOf(set) !== null).map(set => ({run, set})));
    const colour = kindColour(colours, kind), offset = (k - (kinds.length - 1) / 2) * (20 / step);
    return {
      x: rowsOfKind.map(({set}) => 100 * valueOf(set)),
      y: rowsOfKind.map(({set}) => names.indexOf(set.name) + offset), name: `${kind} runs`,
      mode: "markers", hoverinfo: "text",
      text: rowsOfKind.map(({run, set}) => setHover(run, newestOf(run), set)),
      marker: {color: withAlpha(colour, 0.45), size: 9, symbol: kKindSymbols[kind], line: {color: colour, width: 1}},
    };
  });
  return {data: traces, layout};
}

function checkpointTraces(run, name, cell, colours) {
  const rows = run.evaluations.flatMap(e => e.sets.filter(
      set => set.name === name && valueOf(set) !== null).map(set => ({e, set})));
  if (rows.length === 0) return [];
  const colour = runColour(colours, run.name);
  const x = rows.map(({e}) => e.step ?? 0);
  const band = end => rows.map(({set}) => 100 * (barOf(set) ?? [valueOf(set), valueOf(set)])[end]);
  const place = {xaxis: cell.x, yaxis: cell.y, legendgroup: run.name};
  const edge = {...place, x, mode: "lines", line: {width: 0, color: colour}, hoverinfo: "skip",
                showlegend: false};
  return [
    {...edge, y: band(0)},
    {...edge, y: band(1), fill: "tonexty", fillcolor: withAlpha(colour, 0.16)},
    {...place, x, y: rows.map(({set}) => 100 * valueOf(set)), name: run.name,
     mode: "lines+markers", line: {color: colour, width: 2},
     marker: {color: colour, size: rows.length > 40 ? 3 : 5}, hoverinfo: "text",
     text: rows.map(({e, set}) => setHover(run, e, set))},
  ];
}

function buildCheckpoints(runs) {
  return (width, colours) => {
    const names = setNames(runs);
    const rows = runs.length > 1 ? legendRows(runs.map(run => run.name), width) : 0;
    const {layout, cells} = panelGrid(names.length, width, colours,
                                      {narrowest: 230, most: 3, aspect: 0.68, legendRows: rows});
    layout.showlegend = runs.length > 1;
    const traces = [], named = new Set();
    let top = 0;
    names.forEach((name, i) => {
      const set = allSets.find(s => s.name === name);
      cells[i].title(name + (set.role === "reference" ? " (reference)" : ""));
      cells[i].xaxis.title = {...cells[i].xaxis.title, text: "step"};
      cells[i].xaxis.nticks = 5;
      for (const run of runs) {
        for (const trace of checkpointTraces(run, name, cells[i], colours)) {
          if (trace.name) trace.showlegend = !named.has(trace.name);
          if (trace.name) named.add(trace.name);
          top = Math.max(top, ...trace.y);
          traces.push(trace);
        }
      }
      if (set.classes > 0) {
        layout.shapes.push({type: "line", xref: cells[i].x + " domain", yref: cells[i].y, x0: 0,
                            x1: 1, y0: 100 / set.classes, y1: 100 / set.classes,
                            line: {color: colours.soft, width: 1.5, dash: "dot"}});
      }
    });
    for (const cell of cells) {
      Object.assign(cell.yaxis, {range: [0, Math.min(100, top * 1.05)], ticksuffix: " %", nticks: 6});
    }
    return {data: traces, layout};
  };
}

const kIntervalWords = {
  top1: "Clopper-Pearson for the share of n",
  mean_per_class: "Clopper-Pearson on the effective number of images of a mean over classes",
};

// Accuracy on every set along the straight line between two checkpoints.
function alphaTrace(runs, name, colour, cell, dash) {
  const rows = runs.map(run => ({run, set: newestOf(run).sets.find(s => s.name === name)})).filter(
      ({set}) => set && valueOf(set) !== null);
  const reference = rows[0]?.set.role === "reference";
  const far = end => rows.map(({set}) => 100 * Math.abs((barOf(set) ?? [0, 0])[end] - valueOf(set)));
  return {
    x: rows.map(({run}) => alphaOf(run)), y: rows.map(({set}) => 100 * valueOf(set)), name,
    legendgroup: name, xaxis: cell.x, yaxis: cell.y, mode: "lines+markers", hoverinfo: "text",
    text: rows.map(({run, set}) => `alpha ${alphaOf(run)}<br>${setHover(run, newestOf(run), set)}`),
    line: {color: colour, width: reference ? 3 : 1.8, dash}, marker: {color: colour, size: 6},
    error_y: {type: "data", symmetric: false, array: far(1), arrayminus: far(0),
              color: withAlpha(colour, 0.45), thickness: 1, width: 0},
  };
}

// The plain mean over the shifts that every model of the curve was scored on.
function meanShiftTrace(runs, colour, cell) {
  const shifts = newestOf(runs[0]).sets.filter(s => s.role === "shift").map(s => s.name).filter(
      name => runs.every(run => newestOf(run).sets.some(s => s.name === name && valueOf(s) !== null)));
  if (shifts.length < 2) return null;
  const mean = run => shifts.reduce((sum, name) => sum + valueOf(
      newestOf(run).sets.find(s => s.name === name)), 0) / shifts.length;
  return {
    x: runs.map(alphaOf), y: runs.map(run => 100 * mean(run)), name: "mean of the shifts",
    legendgroup: "mean of the shifts", xaxis: cell.x, yaxis: cell.y, mode: "lines", hoverinfo: "text",
    text: runs.map(run => `alpha ${alphaOf(run)}<br>mean of ${shifts.length} shifts ${percent(mean(run))} %`),
    line: {color: colour, width: 2.4, dash: "dash"},
  };
}

function buildAlpha(width, colours) {
  const curves = families();
  const names = setNames(curves.flat());
  const {layout, cells} = panelGrid(curves.length, width, colours, {
    narrowest: 300, most: 2, aspect: 0.62, legendRows: legendRows([...names, "mean of the shifts"], width)});
  layout.showlegend = true;
  const traces = [], named = new Set();
  curves.forEach((runs, i) => {
    cells[i].title(mergeLabel(mergeOf(runs[0])));
    cells[i].xaxis.title = {...cells[i].xaxis.title, text: "alpha"};
    Object.assign(cells[i].xaxis, {range: [-0.03, 1.03], nticks: 6});
    Object.assign(cells[i].yaxis, {ticksuffix: " %", nticks: 6});
    const reference = name => allSets.find(s => s.name === name).role === "reference";
    const drawn = names.map((name, k) => alphaTrace(
        runs, name, reference(name) ? colours.line : colours.types[k % colours.types.length], cells[i]));
    const mean = meanShiftTrace(runs, colours.soft, cells[i]);
    for (const trace of mean ? [...drawn, mean] : drawn) {
      trace.showlegend = !named.has(trace.name);
      named.add(trace.name);
      traces.push(trace);
    }
  });
  return {data: traces, layout};
}

function addAccuracy() {
  if (evaluatedRuns().length === 0) return;
  byId("accuracy").hidden = false;
  addFigure("fig-newest", "newest-accuracy", buildNewest, () => [manyRuns()
    ? `Newest evaluation of ${count(evaluatedRuns().length)} runs: ${metricName(chosen.metric)} on every set, ` +
      "one point a run. Intervals stand in the tables."
    : `Newest evaluation: ${metricName(chosen.metric)} on every set; open circles are reference ` +
      "sets, dotted lines chance (one over the number of classes). Bars: 99.5 % intervals, " +
      `${kIntervalWords[chosen.metric]}.`]);
  if (families().length > 0) {
    addFigure("fig-alpha", "accuracy-against-alpha", buildAlpha, () => [
      `${metricName(chosen.metric)[0].toUpperCase()}${metricName(chosen.metric).slice(1)} of the ` +
      "weights (1 − alpha) A + alpha B between two checkpoints, A at the left; thick: reference sets; " +
      "dashed: the plain mean of the shifts. Bars: 99.5 % intervals. An alpha that is chosen by a " +
      "shift says nothing about that shift: choose it by a reference set, or take 0.5."]);
  }
  const runs = data.runs.filter(run => run.evaluations.length > 1);
  if (runs.length === 0) return;
  addFigure("fig-checkpoints", "accuracy-over-checkpoints", buildCheckpoints(runs), () => [
    `${metricName(chosen.metric)[0].toUpperCase()}${metricName(chosen.metric).slice(1)} at each ` +
    `evaluated checkpoint, all panels on one scale. Bands: 99.5 % intervals as in figure 1, ` +
    `for each checkpoint alone; dotted: chance.`]);
}
