// Puts the page together. data-ready on <html> tells tests that everything is drawn.

addEventListener("error", event => {
  document.documentElement.dataset.error = event.message;
});

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  showTheme();
  drawFigures();
}

function showTheme() {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
  byId("theme").removeAttribute("aria-pressed");
}

// Paper is narrow and white.
function preparePrint() {
  document.documentElement.dataset.themeBefore = document.documentElement.dataset.theme ?? "";
  document.documentElement.dataset.theme = "light";
  document.body.style.width = "700px";
  drawFigures();
}

function afterPrint() {
  const before = document.documentElement.dataset.themeBefore;
  if (before) document.documentElement.dataset.theme = before;
  else delete document.documentElement.dataset.theme;
  document.body.style.width = "";
  drawFigures();
}

function watchWidth() {
  let width = byId("main").clientWidth, waiting = 0;
  new ResizeObserver(() => {
    if (byId("main").clientWidth === width) return;
    width = byId("main").clientWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawFigures, 60);
  }).observe(byId("main"));
}

addHeader();
addAccuracy();
addScatter();
addTraining();
addTables();
addComparison();
addExamples();
addMethods();
addControls();
addContents();
redraws.push(drawFigures);
changed();
showTheme();
byId("theme").addEventListener("click", () => setTheme(!isDark()));
byId("print").addEventListener("click", () => print());
darkWanted.addEventListener("change", () => { showTheme(); drawFigures(); });
addEventListener("beforeprint", preparePrint);
addEventListener("afterprint", afterPrint);
watchWidth();
document.documentElement.dataset.ready = "true";
