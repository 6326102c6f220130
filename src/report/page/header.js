// Title, what was run, the result in a sentence, notes, method.

const list = words => words.length < 2 ? words.join("")
    : words.slice(0, -1).join(", ") + " and " + words[words.length - 1];

function shiftSentence(evaluation) {
  const shifts = evaluation.sets.filter(s => s.reference && valueOf(s) !== null);
  if (shifts.length === 0) return "";
  const values = shifts.map(valueOf);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const best = shifts[values.indexOf(Math.max(...values))];
  const worst = shifts[values.indexOf(Math.min(...values))];
  if (shifts.length === 1) {
    return ` On the shift ${best.name} it reaches ${percent(values[0])} % ${interval(intervalOf(best))}.`;
  }
  return ` On the ${shifts.length} shifts it averages ${percent(mean)} %, from ` +
         `${percent(valueOf(worst))} % (${worst.name}) to ${percent(valueOf(best))} % (${best.name}).`;
}

function runSentence(run) {
  const evaluation = newestOf(run);
  if (!evaluation) return `${run.name} has no finished evaluation yet.`;
  const references = evaluation.sets.filter(s => !s.reference && valueOf(s) !== null);
  const after = evaluation.step === null ? ""
      : `After ${count(evaluation.step)} steps` +
        (evaluation.samples === null ? "" : ` (${count(evaluation.samples)} pairs seen)`) + ", ";
  const who = data.runs.length > 1 ? run.name : run.model ?? run.name;
  const reached = references.slice(0, 3).map(s => `${percent(valueOf(s))} % on ${s.name} ` +
      `(95 % interval ${percent(intervalOf(s)?.[0])} to ${percent(intervalOf(s)?.[1])}, n = ${count(s.n)})`);
  return `${after}${who} reaches a ${metricName(chosen.metric)} of ${list(reached)}.` +
         shiftSentence(evaluation);
}

function facts(run) {
  const evaluation = newestOf(run);
  const steps = run.curves.step ?? [];
  const last = column => column && column.length > 0 ? column[column.length - 1] : null;
  const step = last(steps) ?? evaluation?.step ?? null;
  return [
    ["Model", run.model], ["Kind", evaluation ? kindOf(run) : null],
    ["Steps", step === null ? null
        : count(Math.round(step)) + (run.total_steps && run.total_steps !== step ? ` of ${count(run.total_steps)}` : "")],
    ["Samples seen", count(last(run.curves.samples) ?? evaluation?.samples)],
    ["Ranks", run.world === null ? null : String(run.world)],
    ["Final loss", last(run.curves.loss) === null ? null : last(run.curves.loss).toFixed(3)],
    ["Merged", mergeOf(run) === null ? null : mergeLabel(mergeOf(run)) +
        (mergeOf(run).alpha === null ? "" : `, alpha ${mergeOf(run).alpha}`)],
    ["Started", run.date], ["Commit", run.commit],
    ["Evaluations", String(run.evaluations.length)]].map(([name, value]) => [name, value ?? "–"]);
}

const factsList = run => element("dl", {class: "facts"},
    facts(run).filter(([, value]) => value !== "–").map(([name, value]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, value))));

function factsTable() {
  const head = ["Run", ...facts(data.runs[0]).map(([name]) => name)];
  return element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs"},
    element("table", {},
      element("thead", {}, element("tr", {}, head.map(name =>
          element("th", {scope: "col", class: "plain text"}, name)))),
      element("tbody", {}, data.runs.map(run => element("tr", {},
          element("th", {scope: "row", class: "text"}, run.name),
          facts(run).map(([, value]) => element("td", {class: "text"}, value)))))));
}

// Many runs: how many of each kind, on which sets.
function manySentence() {
  const runs = evaluatedRuns(), names = setNames(runs);
  const shifts = names.filter(name => allSets.find(set => set.name === name).role === "shift");
  const parts = kinds.map(kind => `${count(runs.filter(run => kindOf(run) === kind).length)} ${kind}`);
  return `${list(parts)} models, scored on ${list(names.filter(name => !shifts.includes(name)))}` +
         (shifts.length > 0 ? ` and on the shift${shifts.length > 1 ? "s" : ""} ${list(shifts)}.` : ".");
}

const kNamedRuns = 4;
function addHeader() {
  const whole = wholeRuns();
  const more = data.runs.length - Math.min(whole.length, kNamedRuns);
  byId("title").textContent = manyRuns() ? `${count(whole.length)} runs` :
      whole.slice(0, kNamedRuns).map(run => run.name).join(", ") + (more > 0 ? ` and ${count(more)} more` : "");
  const sentences = () => manyRuns() ? [manySentence()] : whole.slice(0, kNamedRuns).map(runSentence);
  redraws.push(() => byId("summary").replaceChildren(
      ...sentences().map(text => element("p", {class: "lead"}, text))));
  byId("facts").append(...(data.runs.length > 1 ? [factsTable()] : [factsList(data.runs[0])]));
  if (data.notes.length === 0) return;
  byId("notes").hidden = false;
  byId("notes").append(element("b", {}, "Notes on the inputs"),
                       element("ul", {}, data.notes.map(note => element("li", {}, note))));
}

function addContents() {
  for (const section of document.querySelectorAll("main > section:not([hidden])")) {
    byId("contents").append(element("a", {href: `#${section.id}`},
                                    section.dataset.short));
  }
}

// How each set was scored, as the evaluation recorded it.
function protocol(set) {
  const parts = [`${set.layout}`];
  if (set.split) parts.push(`split ${set.split}`);
  if (set.variant) parts.push(`variant ${set.variant}`);
  if (set.class_list) parts.push(`classes restricted to ${set.class_list}`);
  if (set.head) parts.push(`head ${set.head}`);
  if (set.border_px !== null) parts.push(`border ${set.border_px} px cropped`);
  if (set.templates) parts.push(`templates ${set.templates}`);
  return `${parts.join(", ")}; ${set.classes} classes, n = ${count(set.n)}`;
}

// Half the width of a 95 % interval at 50 %, in points: what n images can tell apart.
const halfWidth = n => 100 * 1.96 * Math.sqrt(0.25 / n);

function limits() {
  const run = evaluatedRuns()[0];
  if (!run) return "";
  const sets = newestOf(run).sets.filter(s => s.n > 0);
  const smallest = sets.reduce((a, b) => a.n <= b.n ? a : b, sets[0]);
  if (!smallest) return "";
  return `The smallest set, ${smallest.name}, has ${count(smallest.n)} images: near 50 % its 95 % ` +
         `interval reaches about ${halfWidth(smallest.n).toFixed(1)} points to either side, so ` +
         "smaller differences between single runs are not resolved. Intervals hold for one trained " +
         "model on a sample of images; they do not cover the choice of seed, and images of one " +
         "source, font or camera are less informative than their number.";
}

function addMethods() {
  const paragraphs = [
    (kinds.length === 1 && kinds[0] === "supervised"
        ? "Images are classified by the model's own head. "
        : "Accuracies are zero-shot: the class whose mean text embedding lies closest to the image's" +
          (kinds.includes("supervised") ? "; models of the kind supervised use their own head. " : ". ")) +
    "Top-1 is the share of images, mean per class the mean recall over the classes that have " +
    "images; the two agree when all classes have as many.",
    "Effective robustness is the accuracy on a shift minus the accuracy that the baseline line " +
    "expects from the accuracy on the reference; the residual is the same distance on the " +
    "transformed axis. Logit: ln(p/(1−p)); probit: the normal quantile. A training intervention " +
    "helps only if effective robustness and the accuracy on the shift itself both rise.",
    ...(baselineNames.includes("supervised") ? [
      'Baseline "supervised" is fitted to the newest evaluations of the supervised runs of this page, one ' +
      "point a run, whatever they were trained on; a model that is fitted itself lies close to its line. "] : []),
    ...(data.tables.baseline ? [
      `Baseline: ${data.tables.baseline.path} (${count(data.tables.baseline.rows)} models, ` +
      `${metricName(data.tables.baseline.metric)}). "standard" is fitted to its models of type ` +
      "STANDARD above a threshold of reference accuracy (0.55; 0.75 on class-restricted axes; none " +
      'for other sets), "extended" also to low-accuracy CNNs and without threshold. ImageNet-A has ' +
      "one line below and one above its knee."] : hasBaseline ? [] : [
      "No baseline table was given, so this page makes no claim of effective robustness; " +
      "--baseline adds one, and so do three supervised runs."]),
    limits(),
    "fits.json beside this page holds every line and distance for all transforms, baselines and " +
    "axes; the predictions of each image stand in the evaluation folders."];
  byId("method-text").append(...paragraphs.filter(text => text).map(text => element("p", {}, text)));
  const run = evaluatedRuns()[0];
  if (run) {
    byId("method-text").append(element("h3", {}, "Sets"), element("ul", {},
        newestOf(run).sets.map(set => element("li", {}, element("b", {}, set.name), ": ", protocol(set)))));
  }
  for (const one of data.runs) {
    for (const [name, text] of [["Configuration", one.config], ["Environment", one.environment]]) {
      if (text) {
        const title = `${name} of ${one.name}`;
        byId("sources").append(element("details", {}, element("summary", {}, title),
            element("pre", {tabindex: "0", role: "region", "aria-label": title}, text)));
      }
    }
  }
  byId("sources").append(element("p", {class: "caption"},
      `Written ${data.written} by plumbline ${data.version} (${data.commit}).`));
}
