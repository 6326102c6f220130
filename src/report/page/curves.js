// Loss, learning rate, logit scale and throughput against the step.

const kCurves = [
  {key: "loss", title: "Loss"},
  {key: "lr", title: "Learning rate"},
  {key: "logit_scale", title: "Logit scale"},
  {key: "samples_per_s", title: "Pairs per second", fromZero: true},
];

function buildCurves(runs) {
  return (width, colours) => {
    const names = runs.map(run => run.name);
    const rows = runs.length > 1 ? legendRows(names, width) : 0;
    const {layout, cells} = panelGrid(kCurves.length, width, colours,
                                      {narrowest: 260, most: 2, aspect: 0.5, legendRows: rows});
    layout.showlegend = runs.length > 1;
    const traces = [];
    kCurves.forEach(({key, title, fromZero}, i) => {
      cells[i].title(title);
      cells[i].xaxis.title = {...cells[i].xaxis.title, text: "step"};
      cells[i].yaxis.nticks = 5;
      cells[i].yaxis.exponentformat = "e";
      if (fromZero) cells[i].yaxis.rangemode = "tozero";
      for (const run of runs) {
        const points = run.curves.step.length;
        traces.push({
          x: run.curves.step, y: run.curves[key], name: run.name, legendgroup: run.name,
          showlegend: i === 0, mode: points > 1 ? "lines" : "markers", xaxis: cells[i].x,
          yaxis: cells[i].y, line: {color: runColour(colours, run.name), width: 1.6},
          hovertemplate: `step %{x:,.0f}<br>${title.toLowerCase()} %{y:.5g}` +
                         (runs.length > 1 ? "<extra>%{fullData.name}</extra>" : "<extra></extra>"),
        });
      }
    });
    return {data: traces, layout};
  };
}

function addTraining() {
  const runs = data.runs.filter(run => run.lines > 0);
  if (runs.length === 0) return;
  byId("training").hidden = false;
  addFigure("fig-training", "training", buildCurves(runs), () => {
    const thinned = runs.filter(run => run.lines_per_point > 1);
    return ["Training against the optimizer step: the loss of the logged steps, the learning rate, " +
            "the exponentiated logit scale, and pairs a second over all ranks, averaged between " +
            "two logged steps." +
            (thinned.length > 0 ? " Each point is the mean of " + thinned.map(run =>
                `${run.lines_per_point} logged steps (${run.name})`).join(", ") + "." : "")];
  });
}
