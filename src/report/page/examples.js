// Pictures of each set with what the model said about them.

function picture(example) {
  const best = example.predictions[0], right = example.rank === 1;
  const where = right ? null : example.rank <= example.predictions.length
      ? `place ${example.rank}` : `not in first ${example.predictions.length}`;
  return element("li", {},
    element("img", {src: example.src, alt: `${example.target}, predicted ${best}`, title: example.key}),
    element("p", {},
      element("span", {class: right ? "right" : "wrong"}, best),
      element("br"),
      element("span", {class: "muted"}, right
          ? `then ${example.predictions[1] ?? "nothing"}` : ["is ", element("b", {}, example.target), ", ", where])));
}

function pictureGroup(title, examples) {
  if (examples.length === 0) return null;
  return element("div", {}, element("h4", {}, title),
                 element("ul", {class: "pictures"}, examples.map(picture)));
}

function addExamples() {
  const runs = data.runs.filter(run => run.examples.length > 0);
  const parent = byId("pictures");
  const missing = [];
  for (const run of runs) {
    for (const set of run.examples) {
      if (set.right.length + set.wrong.length === 0) {
        missing.push(`${set.set}${runs.length > 1 ? ` (${run.name})` : ""}: ${set.note}`);
        continue;
      }
      parent.append(
        element("h3", {}, set.set + (runs.length > 1 ? ` – ${run.name}` : "")),
        element("div", {class: "picture-set"}, pictureGroup("right", set.right),
                pictureGroup("wrong, the worst first", set.wrong)));
    }
  }
  if (parent.children.length === 0 && missing.length === 0) return;
  byId("examples").hidden = false;
  parent.prepend(element("p", {class: "caption"},
    "From the newest evaluation, chosen by rule: right are images whose first prediction is true, " +
    "wrong those whose true class stands lowest among the first predictions (its place is given) or " +
    "is not among them; both " +
    "spread over the classes and in the order of a hash of the image's key. Small files are " +
    "preferred. They illustrate, they do not measure."));
  if (missing.length > 0) {
    parent.append(element("div", {class: "notes"}, "No pictures for ",
                          element("ul", {}, missing.map(text => element("li", {}, text)))));
  }
}
