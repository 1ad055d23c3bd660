// Features on the simplex. The chosen corners of the ideal simplex span a tetrahedron (three corners: a triangle, two:
// a line); samples, means and classifier rows are seen along those directions by one orthonormal projection.

const CORNERS = {
  2: [[-1], [1]],
  3: [[-Math.sqrt(3) / 2, -0.5], [Math.sqrt(3) / 2, -0.5], [0, 1]],
  4: [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]].map((corner) => corner.map((x) => x / Math.sqrt(3))),
};

function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const values = new Float64Array(bytes.length / 2);
  for (let i = 0; i < values.length; i += 1) values[i] = view.getInt16(2 * i, true) * packed.scale;
  return values;
}

function unpackRows(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return Array.from({ length: bytes.length / 2 }, (_, i) => bytes[2 * i] + 256 * bytes[2 * i + 1]);
}

// Columns of the projection: S^T T for the centred chosen corners S and the canonical ones T, scaled to be orthonormal.
function projection(simplex, chosen) {
  const ideal = CORNERS[chosen.length];
  const width = simplex[0].length;
  const centre = Array.from({ length: width }, (_, j) => chosen.reduce((sum, k) => sum + simplex[k][j], 0) / chosen.length);
  return ideal[0].map((_, axis) => {
    const column = centre.map((mean, j) => chosen.reduce((sum, k, i) => sum + (simplex[k][j] - mean) * ideal[i][axis], 0));
    const length = Math.hypot(...column) || 1;
    return column.map((x) => x / length);
  });
}

function project(columns, values, row) {
  const width = columns[0].length;
  return columns.map((column) => {
    let sum = 0;
    for (let j = 0; j < width; j += 1) sum += column[j] * values[row * width + j];
    return sum;
  });
}

function hasWebGL() {
  try {
    const canvas = document.createElement("canvas");
    return Boolean(window.WebGLRenderingContext && (canvas.getContext("webgl2") || canvas.getContext("webgl")));
  } catch (error) {
    return false;
  }
}

// A trace through points that may have one, two or three coordinates; on a line, classes are drawn one above another.
function traceOf(points, dimensions, lift, rest) {
  const trace = { type: dimensions === 3 ? "scatter3d" : "scatter", hoverinfo: "name", ...rest };
  trace.x = points.map((p) => p && p[0]);
  trace.y = points.map((p) => p && (dimensions === 1 ? lift : p[1]));
  if (dimensions === 3) trace.z = points.map((p) => p && p[2]);
  return trace;
}

function classTraces(frame, columns, state, at) {
  const k = state.chosen[at];
  const dimensions = columns.length;
  const lift = dimensions === 1 ? (at - 0.5) * 0.3 : 0;
  const role = `@c${at}`;
  const name = `class ${state.pack.classes[k]}`;
  const own = frame.rows.map((row, i) => (row === k ? i : -1)).filter((i) => i >= 0);
  const solid = dimensions === 3;
  const traces = [
    traceOf(own.map((i) => project(columns, frame.points, i)), dimensions, lift, {
      mode: "markers", name: `${name}, samples`, marker: { size: solid ? 2.6 : 5, color: role, opacity: 0.55 },
    }),
    traceOf([columns.map(() => 0), project(columns, frame.means, k)], dimensions, lift, {
      mode: "lines+markers", name: `${name}, mean`, line: { color: role, width: solid ? 4 : 2 },
      marker: { size: [0.1, solid ? 12 : 14], color: role, line: { color: "@paper", width: solid ? 0 : 1.5 } },
    }),
  ];
  if (frame.weights) {
    traces.push(traceOf([project(columns, frame.weights, k)], dimensions, lift, {
      mode: "markers", name: `${name}, row of the classifier`,
      marker: { size: solid ? 9 : 15, color: role, symbol: "diamond-open", line: { width: 2 } },
    }));
  }
  return traces;
}

function idealTraces(columns, state) {
  const dimensions = columns.length;
  const width = columns[0].length;
  const flat = state.pack.simplex.flat();
  const corners = state.chosen.map((k) => project(columns, flat, k));
  const path = [];
  corners.forEach((from, i) => corners.slice(i + 1).forEach((to) => path.push(from, to, null)));
  const edges = traceOf(path, dimensions, 0, {
    mode: "lines", name: "ideal simplex", hoverinfo: "skip", connectgaps: false,
    line: { color: "@muted", width: dimensions === 3 ? 3 : 1.2 },
  });
  const labels = traceOf(corners.map((p) => p.map((x) => 1.13 * x)), dimensions, 0, {
    mode: "text", name: "corner", hoverinfo: "skip", text: state.chosen.map((k) => state.pack.classes[k]),
    textfont: { color: "@ink", size: 15 },
  });
  return width ? [edges, labels] : [];
}

function spaceLayout(state) {
  const reach = state.pack.reach;
  const bare = { visible: false, showgrid: false, zeroline: false, range: [-reach, reach], showspikes: false };
  const shared = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, uirevision: state.chosen.length,
    margin: { l: 0, r: 0, t: 0, b: 0 }, font: { color: "@ink", family: "system-ui, sans-serif" },
    hoverlabel: { bgcolor: "@surface", bordercolor: "@line", font: { color: "@ink" } },
  };
  if (state.mode === 3) {
    const turn = (state.turn * Math.PI) / 180;
    const eye = { x: 1.12 * Math.cos(turn), y: 1.12 * Math.sin(turn), z: 0.5 };
    return { ...shared, scene: { xaxis: bare, yaxis: bare, zaxis: bare, aspectmode: "cube", camera: { eye }, dragmode: "orbit" } };
  }
  const flat = { ...bare, fixedrange: true };
  return { ...shared, dragmode: false, xaxis: flat, yaxis: { ...flat, scaleanchor: "x" } };
}

function drawSpace(state) {
  const frame = state.frame();
  if (!frame || !frame.points) return Promise.resolve();
  const columns = projection(state.pack.simplex, state.chosen);
  const data = [
    ...idealTraces(columns, state),
    ...state.chosen.flatMap((_, at) => classTraces(frame, columns, state, at)),
  ];
  return Plotly.react(state.element, themed(data), themed(spaceLayout(state)), CONFIG);
}
