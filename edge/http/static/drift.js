// What the watch knows: for each feature the shares then and now, as two curves; the oddest first.
const DRIFT_MOST = 12;
const DRIFT_STATES = { learning: "Learning", ok: "As before", suspect: "Suspect", drifted: "Drifted" };
const KINDS = {
  place: (f) => (f.direction === "up" ? "moved up" : "moved down"), spread: (f) => (f.direction === "up" ? "spread wider" : "spread narrower"),
  share: (f) => `${f.category || "“”"}: ${f.direction === "up" ? "more often" : "less often"}`,
  stuck: (f) => `stands still for ${whole(f.rows)} rows`, missing: (f) => (f.rows ? `missing for ${whole(f.rows)} rows` : `missing in ${percent(f.share)}`),
  unknown: (f) => `unknown in ${percent(f.share)}`, far: () => "far from the sample",
  blurred: () => "blurred", sharper: () => "sharper", darker: () => "darker", brighter: () => "brighter", flatter: () => "less contrast", harder: () => "more contrast",
  moved: () => "moved",
};

// The value below which a half of the rows lies, within its bin as if they lay evenly in it.
function middle(shares, edges) {
  let before = shares[0];
  if (before >= 0.5) return `below ${number(edges[0])}`;
  for (let i = 1; i < shares.length - 1; i += 1) {
    if (before + shares[i] >= 0.5) return number(edges[i - 1] + ((0.5 - before) / shares[i]) * (edges[i] - edges[i - 1]), 4);
    before += shares[i];
  }
  return `above ${number(edges[edges.length - 1])}`;
}

// Where the bins are too unlike for a density (a number of few values), each is as wide as the others.
function curvePoints(shares, edges) {
  const [low, high] = [edges[0], edges[edges.length - 1]];
  const widths = edges.slice(1).map((e, i) => e - edges[i]);
  const even = widths.some((w) => w < (high - low) / 200);
  const span = even ? widths.length : high - low;
  const left = (i) => (even ? i : edges[i] - low) / span;
  const inner = widths.map((w, i) => [left(i) + (even ? 1 : w) / span / 2, shares[i + 1] / ((even ? 1 : w) / span)]);
  // What lies outside, on a tenth of the width each.
  return [[-0.05, shares[0] * 10], ...inner, [1.05, shares[shares.length - 1] * 10]];
}

function curves(feature) {
  const then = curvePoints(feature.then, feature.edges);
  const now = feature.now ? curvePoints(feature.now, feature.edges) : [];
  const top = Math.max(...[...then, ...now].map(([, height]) => height)) || 1;
  const line = (points) => points.map(([x, y]) => `${(14 + x * 272).toFixed(1)},${(86 - (y / top) * 80).toFixed(1)}`).join(" ");
  return [
    svg("line", { class: "grid", x1: 0, x2: 300, y1: 86, y2: 86, "vector-effect": "non-scaling-stroke" }),
    svg("polygon", { class: "then", points: `0.4,86 ${line(then)} 299.6,86` }),
    ...(now.length ? [svg("polyline", { class: "now", points: line(now) })] : []),
  ];
}

function columns(feature) {
  const top = Math.max(...feature.then, ...(feature.now || [])) || 1;
  const width = 300 / feature.then.length;
  const column = (share, i, name) => svg("rect", {
    class: name, x: (i * width + (name === "then" ? width * 0.15 : width * 0.5)).toFixed(1), width: (width * 0.35).toFixed(1),
    y: (86 - (share / top) * 80).toFixed(1), height: ((share / top) * 80).toFixed(1),
  });
  return [
    svg("line", { class: "grid", x1: 0, x2: 300, y1: 86, y2: 86, "vector-effect": "non-scaling-stroke" }),
    ...feature.then.map((share, i) => column(share, i, "then")), ...(feature.now || []).map((share, i) => column(share, i, "now")),
  ];
}

// The same in words, for those who do not see the curves, and below them for all.
function inWords(feature) {
  if (feature.edges) {
    const now = feature.now ? `, now ${middle(feature.now, feature.edges)}` : "";
    return `Median then ${middle(feature.then, feature.edges)}${now}`;
  }
  const shares = feature.categories.map((name, i) => ({ name, then: feature.then[i], now: feature.now ? feature.now[i] : null }));
  const largest = shares.sort((a, b) => Math.abs((b.now ?? b.then) - b.then) - Math.abs((a.now ?? a.then) - a.then) || b.then - a.then)[0];
  return `${largest.name || "“”"} then ${percent(largest.then)}${largest.now === null ? "" : `, now ${percent(largest.now)}`}`;
}

function driftFigure(feature, findings) {
  const odd = findings.filter((f) => f.name === feature.name && f.of === feature.of);
  const chart = svg("svg", { class: "chart", viewBox: "0 0 300 90", preserveAspectRatio: "none", role: "img", "aria-label": `${feature.name}: ${inWords(feature)}` });
  chart.append(...(feature.edges ? curves(feature) : columns(feature)));
  const ends = feature.edges ? [number(feature.edges[0]), number(feature.edges[feature.edges.length - 1])] : [feature.categories[0], "other"];
  const sees = feature.sees_sd == null ? "" : ` · seen from ${number(feature.sees_sd, 2)} deviations`;
  return make("li", {},
    make("div", { class: "charthead" }, make("h3", {}, feature.of === "prediction" ? `${feature.name} (predicted)` : feature.name),
      make("span", { class: odd.some((f) => !f.alone) ? "bad" : "muted" }, odd.map((f) => KINDS[f.kind](f)).join(", ") || "as before")),
    chart, make("div", { class: "axis", "aria-hidden": "true" }, ...ends.map((end) => make("span", {}, end))),
    make("p", { class: "range" }, inWords(feature) + sees));
}

function showDrift({ report, features }) {
  $("drift-card").hidden = !report;
  if (!report) return;
  $("drift-state").textContent = DRIFT_STATES[report.state];
  $("drift-state").className = { drifted: "bad", suspect: "warn" }[report.state] || "";
  const rest = report.arms - report.learned;
  const sees = report.sees && report.sees.median_sd !== null ? `Smallest shift that this device sees within two windows: ${number(report.sees.median_sd, 2)} standard deviations`
    + (report.sees.worst_sd === null ? `; of ${report.sees.worst} none.` : `; of ${report.sees.worst} ${number(report.sees.worst_sd, 2)}.`) : "";
  const doubtful = report.doubtful.length ? ` Learnt while it looked broken: ${report.doubtful.join(", ")}.` : "";
  // What has no curves of its own: the scene of a camera, a picture that stands still.
  const named = new Set(features.map((f) => `${f.of} ${f.name}`));
  const bare = report.features.filter((f) => !named.has(`${f.of} ${f.name}`)).map((f) => `The ${f.name} ${f.kind === "moved" ? "has moved" : KINDS[f.kind](f)}. `).join("");
  $("drift-says").textContent = bare + (rest > 0 ? `${whole(report.learned)} of ${whole(report.arms)} windows learnt: shifts are judged after that. ` : "") + sees + doubtful;
  const order = report.features.map((f) => `${f.of} ${f.name}`);
  const rank = (f) => { const at = order.indexOf(`${f.of} ${f.name}`); return at < 0 ? order.length : at; };
  const sorted = [...features].sort((a, b) => rank(a) - rank(b));
  $("drift-features").replaceChildren(...sorted.slice(0, DRIFT_MOST).map((feature) => driftFigure(feature, report.features)));
  const learned = features.some((f) => f.learned);
  $("drift-key").textContent = `${learned ? "Then: as this device has learnt." : "Then: the sample that the model was made with."} Now: the last window.`
    + (sorted.length > DRIFT_MOST ? ` ${whole(sorted.length - DRIFT_MOST)} more are not shown.` : "");
}

async function drift() {
  if (watchesDrift && !state.paused && !document.hidden) {
    try { showDrift(await (await api("/live/drift")).json()); } catch (error) { if (!$("login").hidden) return; }
  }
  setTimeout(drift, 2000);
}
let watchesDrift = false;
