// The sliders: one state for each, moving the view in space, the heat-map and the histogram of a run together, or its
// matrices over classes.

const STATES = [];

function unpackFrame(packed) {
  const frame = { when: packed.when, note: packed.note };
  if (packed.points) {
    frame.points = unpack(packed.points);
    frame.means = unpack(packed.means);
    frame.rows = unpackRows(packed.rows);
    if (packed.weights) frame.weights = unpack(packed.weights);
  }
  if (packed.cosines) frame.cosines = unpack(packed.cosines);
  frame.matrices = packed.matrices;
  return frame;
}

function newState(key, pack) {
  const cache = new Map();
  const state = { key, pack, at: pack.frames.length - 1, turn: 35, timer: null, mode: 3, chosen: [] };
  state.frame = () => {
    if (!cache.has(state.at)) cache.set(state.at, unpackFrame(pack.frames[state.at]));
    return cache.get(state.at);
  };
  state.element = document.querySelector(`[data-space="${key}"]`);
  state.slider = document.querySelector(`[data-frames="${key}"]`);
  state.button = document.querySelector(`[data-play="${key}"]`);
  state.said = document.getElementById(`${key}-said`);
  return state;
}

function square(cosines, k) {
  const rows = Array.from({ length: k }, () => new Array(k).fill(null));
  let next = 0;
  for (let i = 0; i < k; i += 1) {
    for (let j = i + 1; j < k; j += 1) {
      rows[i][j] = rows[j][i] = Math.round(cosines[next] * 1e4) / 1e4;
      next += 1;
    }
  }
  return rows;
}

function showPairs(state) {
  const { cosines } = state.frame();
  if (!cosines) return;
  const parts = { cosines: { z: square(cosines, state.pack.pairs) }, histogram: { x: Array.from(cosines) } };
  for (const [slug, change] of Object.entries(parts)) {
    const key = `${state.pack.view}-${slug}`;
    const element = document.getElementById(key);
    if (!element) continue;
    CHANGED.set(key, (data) => [{ ...data[0], ...change }, ...data.slice(1)]);
    draw(element);
  }
}

// A whole matrix; the smallest int16 stands for an entry without a number.
function matrixOf(packed, k) {
  const blank = -32768 * packed.scale;
  const values = Array.from(unpack(packed), (x) => (x === blank ? null : Number(x.toPrecision(4))));
  return Array.from({ length: k }, (_, i) => values.slice(i * k, (i + 1) * k));
}

function showMatrices(state) {
  const { matrices } = state.frame();
  if (!matrices) return;
  for (const [slug, k] of Object.entries(state.pack.sizes)) {
    const key = `${state.pack.view}-${slug}`;
    const element = document.getElementById(key);
    const packed = matrices[slug];
    const change = packed
      ? { z: matrixOf(packed, k), zmin: packed.ends[0], zmax: packed.ends[1] }
      : { z: Array.from({ length: k }, () => new Array(k).fill(null)) };
    CHANGED.set(key, (data) => [{ ...data[0], ...change }, ...data.slice(1)]);
    draw(element);
  }
}

function show(state, at) {
  state.at = at;
  const { when, note } = state.frame();
  state.slider.value = at;
  state.slider.setAttribute("aria-valuetext", `${when}${note ? `: ${note}` : ""}`);
  state.said.textContent = `${when}${note ? `: ${note}` : ""}`;
  showPairs(state);
  showMatrices(state);
  if (state.element) drawSpace(state);
}

function stop(state) {
  clearInterval(state.timer);
  state.timer = null;
  state.button.textContent = "▶ Play";
  state.button.setAttribute("aria-label", "Play through the checkpoints");
}

function play(state) {
  const last = state.pack.frames.length - 1;
  if (state.at >= last) show(state, 0);
  state.button.textContent = "⏸ Pause";
  state.button.setAttribute("aria-label", "Pause");
  // Who asked for little motion still may step through, at the pace of slides.
  state.timer = setInterval(() => {
    if (state.at >= last) stop(state);
    else show(state, state.at + 1);
  }, REDUCED.matches ? 1500 : 320);
}

function corners(state) {
  const place = document.querySelector(`[data-corners="${state.element.id}"]`);
  place.textContent = "";
  if (state.pack.classes.length <= state.chosen.length) return;
  state.chosen.forEach((k, at) => {
    const label = document.createElement("label");
    const list = document.createElement("select");
    label.append(Object.assign(document.createElement("span"), { className: "chip", textContent: "●" }), "class ");
    label.firstChild.dataset.role = `c${at}`;
    label.firstChild.setAttribute("aria-hidden", "true");
    state.pack.classes.forEach((name, other) => list.add(new Option(name, other, other === k, other === k)));
    list.addEventListener("change", () => {
      const wanted = Number(list.value);
      const twin = state.chosen.indexOf(wanted);
      if (twin >= 0) state.chosen[twin] = state.chosen[at]; // two corners change places
      state.chosen[at] = wanted;
      place.querySelectorAll("select").forEach((each, i) => { each.value = state.chosen[i]; });
      drawSpace(state);
    });
    label.append(list);
    place.append(label);
  });
  paintChips();
}

function setMode(state, mode) {
  const turn = document.querySelector(`[data-turn="${state.element.id}"]`);
  state.mode = mode;
  const wanted = Math.min(mode + 1, state.pack.classes.length);
  const kept = state.chosen.slice(0, wanted);
  state.chosen = [...kept, ...state.pack.classes.keys()].filter((k, i, all) => all.indexOf(k) === i).slice(0, wanted);
  turn.hidden = mode !== 3;
  corners(state);
  Plotly.purge(state.element);
  return drawSpace(state);
}

function startSpace(state, index) {
  const enough = state.pack.classes.length >= 4;
  // Browsers keep only some WebGL contexts alive: on a page with many runs the later ones start in the plane.
  const solid = enough && hasWebGL();
  const modes = document.querySelector(`[data-modes="${state.element.id}"]`);
  document.getElementById(`${state.element.id}-no-webgl`).hidden = !enough || solid;
  modes.hidden = !solid;
  const first = solid && index < 8 ? 3 : Math.min(2, state.pack.classes.length - 1);
  for (const radio of modes.querySelectorAll("input")) {
    radio.checked = Number(radio.value) === first;
    radio.addEventListener("change", () => setMode(state, Number(radio.value)));
  }
  const turn = document.querySelector(`[data-turn="${state.element.id}"] input`);
  turn.addEventListener("input", () => {
    state.turn = Number(turn.value);
    Plotly.relayout(state.element, { "scene.camera": spaceLayout(state).scene.camera });
  });
  return setMode(state, first);
}

function startFrames() {
  Object.entries(DATA.frames).forEach(([key, pack]) => {
    const state = newState(key, pack);
    const index = STATES.filter((other) => other.element).length;
    STATES.push(state);
    state.slider.addEventListener("input", () => {
      if (state.timer) stop(state);
      show(state, Number(state.slider.value));
    });
    state.button.addEventListener("click", () => (state.timer ? stop(state) : play(state)));
    if (state.element) startSpace(state, index);
  });
}
