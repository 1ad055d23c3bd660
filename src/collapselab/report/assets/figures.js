// Flat figures: drawn from the page's data, one after the other so that the page answers in between.

const CONFIG = {
  responsive: true,
  displaylogo: false,
  displayModeBar: false,
  showTips: false,
  scrollZoom: false,
};

// Below this width the names along the marked epochs would cover the curves; the legend names them too.
const NARROW = 440;

// What the sliders changed in a figure, kept so that a change of colours does not undo it.
const CHANGED = new Map();

function specOf(key) {
  const spec = DATA.figures[key].spec;
  const changed = CHANGED.get(key);
  return changed ? { data: changed(spec.data), layout: spec.layout } : spec;
}

function draw(element) {
  const spec = themed(specOf(element.dataset.figure));
  if (element.clientWidth < NARROW) {
    spec.layout.annotations = (spec.layout.annotations || []).filter((note) => note.name !== "phase");
  }
  return Plotly.react(element, spec.data, spec.layout, CONFIG);
}

function drawAll() {
  const waiting = [...document.querySelectorAll("[data-figure]")];
  const next = () => {
    const element = waiting.shift();
    if (!element) {
      ROOT.dataset.drawn = "yes";
      return;
    }
    draw(element).then(() => setTimeout(next, 0));
  };
  next();
}

function startChoosers() {
  for (const list of document.querySelectorAll("[data-chooser]")) {
    const element = document.getElementById(list.dataset.chooser);
    list.addEventListener("change", () => {
      const chosen = DATA.figures[list.value];
      element.dataset.figure = list.value;
      element.setAttribute("aria-label", chosen.label);
      document.getElementById(`${element.id}-caption`).textContent = chosen.caption;
      draw(element);
    });
  }
}
