// --- zones and lines -------------------------------------------------------------------------------------
// Drawn over the newest picture, by mouse, finger or keyboard. The page changes nothing on the device: it says what the
// file of --config has to say.

const SHAPE_NAME = /^[A-Za-z0-9_-]{1,64}$/;
const CORNERS_MOST = 64;
const KINDS_OF_PLACES = { zone: { table: "zones", key: "polygon" }, line: { table: "lines", key: "points" } };
const drawing = { shapes: [], corners: [], cross: null, drag: null, moved: false, size: [1, 1], tracked: false, run: "" };

function placesOf(info) {
  const said = info.tracking || { zones: {}, lines: {} };
  return ["zone", "line"].flatMap((kind) => Object.entries(said[KINDS_OF_PLACES[kind].table]).map(([name, points]) => ({ kind, name, points })));
}

// From pixels, or shares, to pixels of the picture.
const inPixels = (points, [width, height]) => (points.flat().every((v) => v <= 1) ? points.map(([x, y]) => [x * width, y * height]) : points);

const kindOf = () => document.querySelector("input[name=shape]:checked").value;
const turn = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
const crosses = ([a, b], [c, d]) => turn(a, b, c) * turn(a, b, d) < 0 && turn(c, d, a) * turn(c, d, b) < 0;

const part = (value, most) => Number(Math.min(1, Math.max(0, value / most)).toFixed(4));
const asWritten = (points) => points.map(([x, y]) => [part(x, drawing.size[0]), part(y, drawing.size[1])]);

// Why it is no zone or no line; "" where it is one. As --zone and --line have it, of the numbers that they are given: what
// touches in pixels may cross in those.
function wrongShape(kind, name, drawn) {
  const corners = asWritten(drawn);
  if (kind === "line" && corners.length !== 2) return "A line has two corners.";
  if (kind === "zone" && corners.length < 3) return "A zone has three corners or more.";
  const edges = corners.map((corner, i) => [corner, corners[(i + 1) % corners.length]]);
  if (kind === "zone" && edges.some((one, i) => edges.some((other, j) => j > i && crosses(one, other)))) return "Its edges cross: set the corners in their order around it.";
  const area = corners.reduce((sum, a, i) => sum + a[0] * corners[(i + 1) % corners.length][1] - corners[(i + 1) % corners.length][0] * a[1], 0);
  if (kind === "zone" ? Math.abs(area) * drawing.size[0] * drawing.size[1] < 1 : String(corners[0]) === String(corners[1])) return "Nothing is within.";
  if (!SHAPE_NAME.test(name)) return "A name is of letters, digits, _ and -.";
  if (drawing.shapes.some((shape) => shape.kind === kind && shape.name === name)) return `There is a ${kind} of this name.`;
  return "";
}

function asToml() {
  const tables = drawing.shapes.map(({ kind, name, points }) => {
    const { table, key } = KINDS_OF_PLACES[kind];
    return `[${drawing.run ? "run." : ""}${table}.${name}]\n${key} = [${asWritten(points).map(([x, y]) => `[${x}, ${y}]`).join(", ")}]`;
  });
  const where = drawing.run ? [`# below the [[run]] of ${drawing.run}`] : [];
  const track = `track = 1.0  # ${drawing.run ? "above its tables" : "above all tables"}`;
  return [...where, ...(drawing.tracked ? [] : [track]), ...tables].join("\n");
}

function drawPad() {
  const pad = $("places-pad");
  const [width, height] = drawing.size;
  const unit = Math.max(width, height) / 100;
  pad.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const matrix = pad.getScreenCTM();
  const handle = (matchMedia("(pointer: coarse)").matches ? 14 : 7) / ((matrix && matrix.a) || 1);
  const nodes = drawing.shapes.flatMap((shape) => placeNodes(shape, drawing.size));
  if (drawing.corners.length > 1) nodes.push(svg(kindOf() === "zone" ? "polygon" : "polyline", { class: "drawn", points: drawing.corners.join(" ") }));
  drawing.corners.forEach(([cx, cy], i) => nodes.push(svg("circle", { class: "corner", cx, cy, r: handle, "data-corner": i })));
  if (drawing.cross) {
    const [x, y] = drawing.cross;
    nodes.push(svg("path", { class: "cross", d: `M${x - 3 * unit} ${y}h${6 * unit}M${x} ${y - 3 * unit}v${6 * unit}` }));
  }
  pad.replaceChildren(...nodes);
  $("places-undo").disabled = !drawing.corners.length;
  $("places-toml").value = asToml();
  $("places-list").replaceChildren(...drawing.shapes.map((shape) => {
    const remove = make("button", { class: "quiet", type: "button", "aria-label": `Remove ${shape.kind} ${shape.name}` }, "Remove");
    remove.addEventListener("click", () => { drawing.shapes = drawing.shapes.filter((other) => other !== shape); drawPad(); $("places-pad").focus(); });
    return make("li", { class: "row" }, make("span", {}, `${shape.kind} ${shape.name}, ${shape.points.length} corners`), remove);
  }));
}

const sayPlaces = (text) => { $("places-said").textContent = text; };

function setCorner(corner) {
  const most = kindOf() === "line" ? 2 : CORNERS_MOST;
  if (drawing.corners.length >= most) return sayPlaces(`A ${kindOf()} has no more than ${most} corners: name it and add it.`);
  drawing.corners.push(corner.map(Math.round));
  sayPlaces("");
  return drawPad();
}

function undoCorner() {
  drawing.corners.pop();
  drawPad();
}

const inside = ([x, y]) => [Math.min(drawing.size[0], Math.max(0, x)), Math.min(drawing.size[1], Math.max(0, y))];

function pointOf(event) {
  const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform($("places-pad").getScreenCTM().inverse());
  return inside([x, y]);
}

$("places-pad").addEventListener("pointerdown", (event) => {
  const corner = event.target.dataset && event.target.dataset.corner;
  drawing.drag = corner === undefined ? null : Number(corner);
  drawing.moved = drawing.drag !== null;
  if (drawing.drag !== null) $("places-pad").setPointerCapture(event.pointerId);
});
$("places-pad").addEventListener("pointermove", (event) => {
  if (drawing.drag === null) return;
  drawing.corners[drawing.drag] = pointOf(event).map(Math.round);
  drawPad();
});
$("places-pad").addEventListener("click", (event) => {
  drawing.cross = null;
  if (!drawing.moved) setCorner(pointOf(event));
});
for (const end of ["pointerup", "pointercancel"]) $("places-pad").addEventListener(end, () => { drawing.drag = null; });
$("places-pad").addEventListener("keydown", (event) => {
  const step = Math.max(...drawing.size) * (event.shiftKey ? 0.002 : 0.02);
  const way = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  const cross = drawing.cross || drawing.size.map((side) => side / 2);
  if (way) drawing.cross = inside([cross[0] + way[0], cross[1] + way[1]]);
  else if (event.key === "Enter" || event.key === " ") { drawing.cross = cross; setCorner(cross); }
  else if (event.key === "Backspace") undoCorner();
  else if (event.key === "Escape") drawing.corners = [];
  else return;
  event.preventDefault();
  drawPad();
});
$("places-undo").addEventListener("click", undoCorner);
for (const radio of document.querySelectorAll("input[name=shape]")) radio.addEventListener("change", drawPad);

$("places-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const [kind, name] = [kindOf(), $("places-name").value.trim()];
  const wrong = wrongShape(kind, name, drawing.corners);
  sayPlaces(wrong);
  if (wrong) return;
  drawing.shapes.push({ kind, name, points: drawing.corners });
  drawing.corners = [];
  $("places-name").value = "";
  drawPad();
  $("places-pad").focus();
});

// The picture that shows stands still while it is drawn on.
$("draw").addEventListener("click", () => {
  const image = $("picture");
  drawing.size = [image.naturalWidth, image.naturalHeight];
  const canvas = make("canvas", { width: drawing.size[0], height: drawing.size[1] });
  canvas.getContext("2d").drawImage(image, 0, 0);
  canvas.toBlob((blob) => { $("places-picture").src = URL.createObjectURL(blob); }, "image/jpeg", 0.9);
  drawing.shapes = places.map((place) => ({ ...place, points: inPixels(place.points, drawing.size) }));
  drawing.corners = [];
  drawing.cross = null;
  sayPlaces("");
  $("places-card").hidden = false;
  drawPad();
  $("places-pad").focus();
});
$("places-close").addEventListener("click", () => {
  $("places-card").hidden = true;
  URL.revokeObjectURL($("places-picture").src);
  $("places-picture").removeAttribute("src");
  $("draw").focus();
});
$("places-copy").addEventListener("click", async () => {
  $("places-toml").select();
  let copied = false;
  try { await navigator.clipboard.writeText($("places-toml").value); copied = true; } catch { copied = document.execCommand("copy"); }
  $("places-copied").textContent = copied ? "Copied" : "Select it and copy it by hand";
});
$("places-save").addEventListener("click", () => {
  const link = make("a", { href: URL.createObjectURL(new Blob([`${asToml()}\n`], { type: "application/toml" })), download: "zones.toml" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
