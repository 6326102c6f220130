// Accuracies on transformed axes: ln(p / (1 - p)), the normal quantile, or p itself.

// Normal quantile (Acklam's rational approximation, relative error 1e-9): for places on the screen;
// every printed number comes with the data.
function normalQuantile(p) {
  const a = [-39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269,
             -30.66479806614716, 2.506628277459239];
  const b = [-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972,
             -13.28068155288572, 1];
  const c = [-0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734,
             4.374664141464968, 2.938163982698783];
  const d = [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416, 1];
  const poly = (k, x) => k.reduce((sum, value) => sum * x + value, 0);
  if (p <= 0) return -Infinity;
  if (p >= 1) return Infinity;
  if (p > 0.97575) return -normalQuantile(1 - p);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return poly(c, q) / poly(d, q);
  }
  const q = p - 0.5;
  return q * poly(a, q * q) / poly(b, q * q);
}

const kTransforms = {
  logit: {label: "logit", at: p => Math.log(p / (1 - p))},
  probit: {label: "probit", at: normalQuantile},
  linear: {label: "linear", at: p => p},
};

// Place of an accuracy; the ends of an interval may be 0 or 1, which have none on two of the axes.
const place = (transform, p) => kTransforms[transform].at(p);
const placeInside = (transform, p) => place(transform, Math.min(Math.max(p, 1e-5), 1 - 1e-5));
const hasPlace = (transform, p) => Number.isFinite(place(transform, p));

// Every 5 or 10 points, closer ones near 0 and 1 where the axis is stretched.
function accuracyTicks(transform, lo, hi, room) {
  const fine = [0.1, 0.9, 0.05, 0.95, 0.01, 0.99, 0.02, 0.98, 0.005, 0.995, 0.001, 0.999];
  const inside = p => place(transform, p) >= lo && place(transform, p) <= hi;
  const series = step => {
    const out = [];
    for (let i = 1; i * step < 99.5; ++i) out.push(i * step / 100);
    return out;
  };
  let ticks = [1, 2, 5, 10, 20].map(series).find(s => s.filter(inside).length <= room) || [];
  ticks = ticks.filter(inside);
  const gap = (hi - lo) / (room + 2);
  const candidates = transform === "linear" ? [0, 1] : fine;
  for (const p of candidates) {
    const z = place(transform, p);
    if (inside(p) && ticks.every(t => Math.abs(place(transform, t) - z) >= gap)) ticks.push(p);
  }
  ticks.sort((a, b) => a - b);
  return {tickvals: ticks.map(p => place(transform, p)), ticktext: ticks.map(tickLabel)};
}

const tickLabel = p => String(Number((100 * p).toPrecision(3)));
const percent = (p, digits = 1) => p === null || p === undefined ? "–" : (100 * p).toFixed(digits);
const interval = (ci, digits = 1) =>
    ci ? `[${percent(ci[0], digits)}, ${percent(ci[1], digits)}]` : "–";
const fixed = (value, digits) => value.toFixed(digits).replace("-", "−");
const signed = (value, digits) =>
    value === null || value === undefined
        ? "–" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
const count = n => n === null || n === undefined ? "–" : n.toLocaleString("en-US");
const kColumnNames = {
  imagenet: "ImageNet", v2: "ImageNetV2", objectnet: "ObjectNet", sketch: "ImageNet-Sketch",
  r: "ImageNet-R", a: "ImageNet-A", imagenet_r_classes: "ImageNet, classes of R",
  imagenet_a_classes: "ImageNet, classes of A", imagenet_objectnet_classes: "ImageNet, classes of ObjectNet",
};
const columnName = column => kColumnNames[column] ?? column;
const metricName = metric => metric === "top1" ? "top-1 accuracy" : "mean recall per class";
