// Elements, figures, sortable tables and their export.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = id => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined));
  return node;
}

function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], {type}));
  const link = element("a", {href: url, download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// ---- theme ------------------------------------------------------------------------------------

const kThemes = {
  light: {ink: "#1b1f24", soft: "#59636e", rule: "#e3e7ec", frame: "#aab3bd", paper: "#ffffff",
          runs: ["#1f5fbf", "#c4482b", "#1d8a64", "#8a4fb0", "#a87400", "#4d5965", "#c2307f", "#0e7c93"],
          types: ["#d9822b", "#2a9d8f", "#a05195", "#e15759", "#6c8c3c", "#7a6248", "#4f7cac", "#b08900", "#5b5fc7"],
          standard: "#8c97a3", line: "#3d4650"},
  dark: {ink: "#e4e8ec", soft: "#9ca7b3", rule: "#2a3139", frame: "#59636e", paper: "#14171b",
         runs: ["#7db0ff", "#ff8f73", "#54c9a0", "#c69be8", "#e0b34c", "#a7b2be", "#ff8fc4", "#5cc8dd"],
         types: ["#f0a860", "#5fd0c3", "#d58fcb", "#ff9193", "#a9c878", "#c9ae8c", "#8db7e2", "#e3c558", "#a3a6ff"],
         standard: "#7d8894", line: "#c3ccd5"},
};
const darkWanted = matchMedia("(prefers-color-scheme: dark)");
function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : darkWanted.matches;
}
const theme = () => kThemes[isDark() ? "dark" : "light"];
// The inside of an interpolation curve takes no colour from the others.
function runColour(colours, name) {
  const place = wholeRuns().findIndex(run => run.name === name);
  const run = data.runs.find(one => one.name === name);
  return manyRuns() && run ? kindColour(colours, kindOf(run))
                           : colours.runs[Math.max(place, 0) % colours.runs.length];
}

const kindColour = (colours, kind) =>
    kind === "supervised" ? colours.standard : colours.runs[kind === "contrastive" ? 0 : 3];

// ---- figures ----------------------------------------------------------------------------------

const figures = [];  // {plot, build}
let figureNumber = 0;

// build(width, colours) -> {data, layout, height}; caption() -> nodes.
function addFigure(id, name, build, caption) {
  const figure = byId(id);
  const number = ++figureNumber;
  const plot = element("div", {class: "plot", role: "img"});
  const text = element("figcaption");
  const exportSvg = async () => {
    const width = Math.max(plot.clientWidth, 720);
    const drawn = build(width, kThemes.light);
    const url = await Plotly.toImage({data: drawn.data, layout: drawn.layout},
                                     {format: "svg", width, height: drawn.layout.height});
    save(`${name}.svg`, "image/svg+xml", decodeURIComponent(url.slice(url.indexOf(",") + 1)));
  };
  figure.append(plot, element("div", {class: "under"}, text, element("div", {class: "export"},
      element("button", {type: "button", onclick: exportSvg,
                         "aria-label": `Save figure ${number} as SVG`}, "SVG"))));
  const entry = {
    plot,
    draw() {
      const drawn = build(plot.clientWidth || figure.clientWidth, theme());
      Plotly.react(plot, drawn.data, drawn.layout, {displayModeBar: false, doubleClick: "reset"});
      const nodes = caption();
      text.replaceChildren(element("b", {}, `Figure ${number}. `), ...nodes);
      plot.setAttribute("aria-label", text.textContent);
    },
  };
  figures.push(entry);
}

function drawFigures() {
  for (const figure of figures) figure.draw();
}

function baseLayout(colours, height, margin) {
  return {
    height, margin, autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif",
           size: 12, color: colours.ink},
    hoverlabel: {bgcolor: colours.paper, bordercolor: colours.frame,
                 font: {color: colours.ink, size: 12}, align: "left"},
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    showlegend: false, annotations: [], shapes: [],
    legend: {orientation: "h", x: 0, xanchor: "left", yref: "container", y: 0, yanchor: "bottom",
             bgcolor: "rgba(0,0,0,0)", font: {size: 12}},
  };
}

const axisStyle = colours => ({
  gridcolor: colours.rule, linecolor: colours.frame, tickcolor: colours.frame, zeroline: false,
  showline: true, mirror: true, ticks: "outside", ticklen: 4, tickfont: {color: colours.soft},
  title: {font: {size: 12, color: colours.soft}, standoff: 6},
});

// Panels in rows and columns, as axes of one figure: panel i has axes x{i+1}, y{i+1}.
function panelGrid(panels, width, colours, {narrowest, most, aspect, legendRows = 0}) {
  const gapX = 64, gapY = 84, left = 56, right = 12, top = 30;
  const bottom = 50 + (legendRows > 0 ? 12 + 20 * legendRows : 0);
  const room = width - left - right;
  const fitting = Math.floor((room + gapX) / (narrowest + gapX));
  const columns = Math.max(1, Math.min(most, panels, fitting));
  const panelWidth = (room - gapX * (columns - 1)) / columns;
  const panelHeight = Math.min(panelWidth * aspect, 420);
  const rows = Math.ceil(panels / columns);
  const inner = rows * panelHeight + (rows - 1) * gapY;
  const layout = baseLayout(colours, Math.round(inner + top + bottom),
                            {l: left, r: right, t: top, b: bottom, pad: 0});
  layout.width = width;
  const cells = [];
  for (let i = 0; i < panels; ++i) {
    const x = (i % columns) * (panelWidth + gapX), y = Math.floor(i / columns) * (panelHeight + gapY);
    const suffix = i === 0 ? "" : String(i + 1);
    const xDomain = [x / room, Math.min(1, (x + panelWidth) / room)];
    const yDomain = [Math.max(0, 1 - (y + panelHeight) / inner), 1 - y / inner];
    layout["xaxis" + suffix] = {...axisStyle(colours), domain: xDomain, anchor: "y" + suffix};
    layout["yaxis" + suffix] = {...axisStyle(colours), domain: yDomain, anchor: "x" + suffix};
    cells.push({
      x: "x" + suffix, y: "y" + suffix, xaxis: layout["xaxis" + suffix],
      yaxis: layout["yaxis" + suffix], width: panelWidth, height: panelHeight, column: i % columns,
      title: text => layout.annotations.push({
        text, showarrow: false, xref: "paper", yref: "paper", x: xDomain[0], y: yDomain[1],
        xanchor: "left", yanchor: "bottom", yshift: 4, font: {size: 13, color: colours.ink}}),
    });
  }
  return {layout, cells};
}

// How many lines a legend of these names takes.
const legendRows = (names, width) => {
  const widths = names.map(name => 52 + 6.6 * name.length);
  const widest = Math.max(...widths, 1);
  return Math.ceil(names.length / Math.max(1, Math.floor((width - 70) / widest)));
};

function withAlpha(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

// ---- tables -----------------------------------------------------------------------------------

const csvCell = text => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;

function tableToCsv(table) {
  return [...table.rows].filter(row => !row.hidden).map(row => [...row.cells].map(cell =>
      csvCell(cell.dataset.csv ?? cell.textContent.trim())).join(",")).join("\n") + "\n";
}

function sortBy(table, column, ascending) {
  const body = table.tBodies[0];
  const value = row => row.cells[column].dataset.value;
  const rows = [...body.rows];
  const numeric = rows.every(row => value(row) === undefined || value(row) === "" ||
                                    !Number.isNaN(Number(value(row))));
  rows.sort((a, b) => {
    const va = value(a) ?? "", vb = value(b) ?? "";
    if (va === "" || vb === "") return (va === "") - (vb === "");  // missing last
    const order = numeric ? Number(va) - Number(vb) : va.localeCompare(vb, "en", {numeric: true});
    return ascending ? order : -order;
  });
  body.append(...rows);
  [...table.tHead.rows[0].cells].forEach((cell, i) => cell.setAttribute(
      "aria-sort", i === column ? (ascending ? "ascending" : "descending") : "none"));
}

// Rows that hold every word, in any column; kept when a control redraws the table.
const filterTexts = new Map();
const kRowsWithoutFilter = 12;

function filterRows(table, text, shown) {
  const words = text.toLowerCase().split(/\s+/).filter(word => word);
  const rows = [...table.tBodies[0].rows];
  for (const row of rows) {
    const content = [...row.cells].map(cell => cell.textContent.toLowerCase()).join(" ");
    row.hidden = !words.every(word => content.includes(word));
  }
  const left = rows.filter(row => !row.hidden).length;
  shown.textContent = left === rows.length ? `${count(left)} rows` : `${count(left)} of ${count(rows.length)}`;
}

function filterControl(name, table) {
  const shown = element("span", {class: "muted", "aria-live": "polite"});
  const apply = text => { filterTexts.set(name, text); filterRows(table, text, shown); };
  const input = element("input", {type: "search", class: "filter", placeholder: "filter rows",
                                  "aria-label": `Filter the rows of ${name}`,
                                  value: filterTexts.get(name) ?? "",
                                  oninput: event => apply(event.target.value)});
  apply(filterTexts.get(name) ?? "");
  return element("div", {class: "filters"}, input, shown);
}

// columns: {name, csv, text: bool}; rows of {value, show, csv, class, style}; the first cell heads.
function addTable(parent, name, columns, rows, caption) {
  const header = columns.map((column, i) => element("th", {
    scope: "col", class: column.text ? "text" : null, "aria-sort": "none",
    "data-csv": column.csv ?? column.name, title: column.title,
  }, element("button", {type: "button", onclick: event => {
    const cell = event.currentTarget.parentElement;
    const first = column.text ? "ascending" : "descending";
    const now = cell.getAttribute("aria-sort");
    sortBy(table, i, now === "none" ? first === "ascending" : now === "descending");
  }}, column.name)));
  const body = rows.map(cells => element("tr", {}, cells.map((cell, i) => {
    const value = cell.value ?? "";
    return element(i === 0 ? "th" : "td", {
      scope: i === 0 ? "row" : null, "data-value": value, "data-csv": cell.csv ?? value,
      class: [columns[i].text ? "text" : "", cell.class ?? ""].join(" ").trim() || null,
      style: cell.style,
    }, cell.show ?? String(value));
  })));
  const table = element("table", {"aria-label": name},
                        element("thead", {}, element("tr", {}, header)),
                        element("tbody", {}, body));
  parent.append(
      element("div", {class: "under"},
              element("p", {class: "caption"}, caption),
              element("div", {class: "export"}, element("button", {
                type: "button", "aria-label": `Save ${name} as CSV`,
                onclick: () => save(`${name}.csv`, "text/csv", tableToCsv(table))}, "CSV"))),
      ...(rows.length > kRowsWithoutFilter ? [filterControl(name, table)] : []),
      element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": name}, table));
  return table;
}

// A labelled choice from a list of {value, label}.
function selectControl(label, options, value, use) {
  const select = element("select", {onchange: event => use(event.target.value)},
      options.map(o => element("option", {value: o.value, selected: o.value === value}, o.label)));
  return element("label", {class: "select"}, element("span", {class: "muted"}, label), select);
}

const textCell = text => ({value: text ?? "", show: text ?? "–"});
const shareCell = (share, extra = {}) => ({value: share, show: percent(share), ...extra});
const intervalCell = ci =>
    ({value: ci ? ci[0] : null, show: interval(ci), csv: ci ? `${ci[0]} to ${ci[1]}` : ""});
