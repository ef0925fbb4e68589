// Numbers and times as the browser's language writes them; the words of the page are English.
const fixed = (value, digits) => value.toLocaleString(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits });
const number = (value, digits = 3) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
  return Number(value.toPrecision(digits)).toLocaleString(undefined, { maximumFractionDigits: 6 });
};
const whole = (value) => Number(value).toLocaleString();
const percent = (value) => (value > 0 && value < 0.0005 ? `< ${fixed(0.1, 1)} %` : `${fixed(value * 100, value > 0 && value < 0.1 ? 1 : 0)} %`);
// Small models take microseconds, which is what the device tells.
const ms = (value) => fixed(value, value > 0 && value < 0.1 ? 3 : value < 10 ? 2 : value < 100 ? 1 : 0);
const place = (source) => (source === "-" ? "standard input" : source);
const clock = (text) => new Date(text).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const size = (bytes) => (bytes < 1e6 ? `${number(bytes / 1e3, 2)} kB` : `${number(bytes / 1e6, 2)} MB`);
const total = (result) => result.timing_ms.preprocess + result.timing_ms.infer + result.timing_ms.postprocess;
// ["--task", "detect", "--labels"] to ["--task detect", "--labels"]: a flag and its value stay together.
const pairs = (flags) => flags.join(" ").split(/ (?=--)/);
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

// Of a sample that the device shows in part.
const isCut = (sample) => sample.count > (sample.kind === "row" ? Object.keys(sample.values) : sample.values || []).length;

// --- what a result says ----------------------------------------------------------------------------------

const BARS_MOST = 6;
const KINDS_MOST = 4;

function bars(result) {
  const found = result.predictions;
  if (result.task === "segment" && found[0] && found[0].areas) {
    return found[0].labels.map((label, i) => ({ name: label, text: percent(found[0].areas[i]), share: found[0].areas[i] }));
  }
  return found.slice(0, BARS_MOST).map((p) => {
    if ("label" in p) return { name: [p.label, within(p)].filter(Boolean).join(" · "), text: percent(p.score), share: p.score };
    if ("text" in p) return { name: p.text, text: percent(p.score), share: p.score };
    if ("is_anomaly" in p) return { name: p.is_anomaly ? "Anomaly" : "Normal", text: number(p.score), share: null };
    if ("value" in p) return { name: p.name || "value", text: `${number(p.value, 5)} ${p.unit || ""}`.trim(), share: null };
    const values = (p.data || []).slice(0, 6).map((v) => (typeof v === "number" ? number(v) : String(v)));
    return { name: `${p.name} [${(p.shape || []).join(", ")}]`, text: values.join("  "), share: null };
  });
}

const NOTHING = { detect: "Nothing found", keypoints: "Nothing found", text: "No text" };

function headline(result) {
  const found = result.predictions;
  if (result.reason) return ["Skipped", ""];
  if (!found.length) return [NOTHING[result.task] || "No class above the threshold", ""];
  if ("box" in found[0]) {
    const counts = new Map();
    for (const p of found) counts.set(p.label, (counts.get(p.label) || 0) + 1);
    const kinds = [...counts].map(([label, n]) => (n > 1 ? `${n} × ${label}` : label));
    return [kinds.slice(0, KINDS_MOST).join(", "), kinds.length > KINDS_MOST ? `and ${kinds.length - KINDS_MOST} more kinds` : ""];
  }
  const first = bars(result)[0];
  if (!first) return [result.task, ""];
  if ("value" in found[0]) return [first.text, found.length > 1 ? `and ${found.length - 1} more` : first.name];
  if (result.task === "raw") return [first.name, ""];
  return [first.name, first.text];
}

function score(result) {
  const first = result.predictions[0];
  if (!first) return result.task === "detect" || result.task === "classify" ? 0 : null;
  if ("score" in first) return first.score;
  if ("value" in first) return first.value;
  return first.areas ? Math.max(0, ...first.areas) : null;
}

function fillBars(list, result) {
  const found = bars(result);
  // One number, or one verdict, is in the headline already.
  const plain = found.length === 1 && found[0].share === null && result.task !== "raw";
  list.hidden = plain;
  list.replaceChildren(...(plain ? [] : found).map((bar) => {
    const item = make("li", {}, make("span", { class: "name", title: bar.name }, bar.name), make("span", {}, bar.text));
    if (bar.share !== null) {
      const fill = make("i");
      fill.style.width = `${Math.max(0, Math.min(1, bar.share)) * 100}%`;
      item.append(make("span", { class: "bar", "aria-hidden": "true" }, fill));
    }
    return item;
  }));
  const more = result.predictions.length - BARS_MOST;
  if (more > 0) list.append(make("li", {}, make("span", { class: "name" }, `and ${whole(more)} more`)));
}

// --- pictures --------------------------------------------------------------------------------------------

function svg(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}

// What a second model says of an object, in a word: its best class, the text that it has read, or a number.
function within(object) {
  const best = object.then && object.then.predictions[0];
  if (!best || best.data) return "";
  if (best.label || best.text) return best.label || best.text;
  const { name, text } = bars(object.then)[0];
  return `${name} ${text}`;
}

function caption(object) {
  return [object.label, object.track_id && `#${object.track_id}`, percent(object.score), within(object)].filter(Boolean).join(" ");
}

// Zones and lines in force, as the device tells them; drawn below the boxes of its own pictures.
let places = [];

// A line has an arrow to its right side, where what crosses it goes in.
function placeNodes({ kind, name, points }, size) {
  const at = inPixels(points, size);
  const unit = Math.max(...size) / 34;
  const nodes = [svg(kind === "zone" ? "polygon" : "polyline", { class: "place", points: at.join(" ") })];
  if (kind === "line") {
    const [[ax, ay], [bx, by]] = at;
    const [mx, my, long] = [(ax + bx) / 2, (ay + by) / 2, Math.hypot(bx - ax, by - ay) || 1];
    const [nx, ny] = [(-(by - ay) / long) * unit, ((bx - ax) / long) * unit];
    nodes.push(svg("path", { class: "place arrow", d: `M${mx - ny / 2} ${my + nx / 2}L${mx + nx} ${my + ny}L${mx + ny / 2} ${my - nx / 2}Z` }));
  }
  const [x, y] = at[0];
  const low = Math.min(Math.max(y + unit, unit), size[1] - unit / 3);
  nodes.push(svg("text", { class: "place", x: Math.min(x + unit / 3, size[0] - name.length * unit * 0.6), y: low, "font-size": unit }, name));
  return nodes;
}

function drawBoxes(layer, image, result) {
  const width = image.naturalWidth;
  const height = image.naturalHeight;
  layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const scale = Math.max(width / (image.clientWidth || width), height / (image.clientHeight || height));
  const letter = Math.max(Math.max(width, height) / 34, 12 * scale);
  const inner = (p) => (p.then ? p.then.predictions : []);
  const boxes = result ? result.predictions.flatMap((p) => [...inner(p), p]).filter((p) => p.box) : [];
  // The surest last, on top of the others; every line below every label.
  boxes.reverse();
  const hue = (p) => ({ "data-hue": p.index % 6 });
  const drawn = layer.id === "boxes" ? places.flatMap((place) => placeNodes(place, [width, height])) : [];
  layer.replaceChildren(...drawn, ...boxes.map((p) => {
    const [left, top, right, bottom] = p.box;
    const group = svg("g", hue(p));
    group.append(svg("rect", { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) }));
    for (const [px, py, ps] of p.keypoints || []) if (ps > 0) group.append(svg("circle", { cx: px, cy: py, r: letter / 4 }));
    return group;
  }));
  for (const p of boxes) {
    const [left, top] = p.box;
    const group = svg("g", hue(p));
    const tall = letter * 1.45;
    const y = top >= tall ? top - tall : top;
    const tag = svg("rect", { class: "tag", y, height: tall });
    const label = svg("text", { y: y + letter * 1.05, "font-size": letter }, caption(p));
    group.append(tag, label);
    layer.append(group);
    const wide = Math.min(width, (label.getComputedTextLength() || label.textContent.length * letter * 0.62) + letter * 0.7);
    const x = Math.max(0, Math.min(left, width - wide));
    tag.setAttribute("x", x);
    tag.setAttribute("width", wide);
    label.setAttribute("x", x + letter * 0.35);
  }
}

function show(image, layer, blob, result) {
  return new Promise((done) => {
    const old = image.src;
    const forget = () => { if (old.startsWith("blob:")) URL.revokeObjectURL(old); };
    image.onload = () => { drawBoxes(layer, image, result); forget(); done(true); };
    image.onerror = () => { layer.replaceChildren(); forget(); done(false); };
    image.src = URL.createObjectURL(blob);
  });
}
