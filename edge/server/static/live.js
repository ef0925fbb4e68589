const MOST = 240;
const ROWS = 12;
const state = { points: [], rows: [], newest: null, totals: null, missed: 0, paused: false, picture: false, stale: false };
let reader = null;
let failures = 0;

const number = (value, digits = 3) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
  return Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6 });
};
const whole = (value) => Number(value).toLocaleString("en");
const percent = (value) => (value > 0 && value < 0.0005 ? "< 0.1 %" : `${(value * 100).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`);
const ms = (value) => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
const place = (source) => (source === "-" ? "standard input" : source);
const clock = (text) => new Date(text).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const size = (bytes) => (bytes < 1e6 ? `${number(bytes / 1e3, 2)} kB` : `${number(bytes / 1e6, 2)} MB`);
const total = (result) => result.timing_ms.preprocess + result.timing_ms.infer + result.timing_ms.postprocess;
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

// --- what a result says ----------------------------------------------------------------------------------

function bars(result) {
  const found = result.predictions;
  if (result.task === "segment" && found[0] && found[0].areas) {
    return found[0].labels.map((label, i) => ({ name: label, text: percent(found[0].areas[i]), share: found[0].areas[i] }));
  }
  return found.slice(0, 6).map((p) => {
    if ("label" in p) return { name: p.label, text: percent(p.score), share: p.score };
    if ("is_anomaly" in p) return { name: p.is_anomaly ? "Anomaly" : "Normal", text: number(p.score), share: null };
    if ("value" in p) return { name: p.name || "value", text: `${number(p.value, 5)} ${p.unit || ""}`.trim(), share: null };
    const values = (p.data || []).slice(0, 6).map((v) => (typeof v === "number" ? number(v) : String(v)));
    return { name: `${p.name} [${(p.shape || []).join(", ")}]`, text: values.join("  "), share: null };
  });
}

function headline(result) {
  const found = result.predictions;
  if (result.reason) return ["Skipped", ""];
  if (!found.length) return [result.task === "detect" ? "Nothing found" : "No class above the threshold", ""];
  if (result.task === "detect") {
    const counts = new Map();
    for (const p of found) counts.set(p.label, (counts.get(p.label) || 0) + 1);
    return [[...counts].map(([label, n]) => (n > 1 ? `${n} × ${label}` : label)).slice(0, 4).join(", "), ""];
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
  list.replaceChildren(...bars(result).map((bar) => {
    const item = make("li", {}, make("span", { class: "name", title: bar.name }, bar.name), make("span", {}, bar.text));
    if (bar.share !== null) {
      const fill = make("i");
      fill.style.width = `${Math.max(0, Math.min(1, bar.share)) * 100}%`;
      item.append(make("span", { class: "bar", "aria-hidden": "true" }, fill));
    }
    return item;
  }));
}

// --- pictures --------------------------------------------------------------------------------------------

function svg(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}

function drawBoxes(layer, image, result) {
  const width = image.naturalWidth;
  const height = image.naturalHeight;
  layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const letter = Math.max(width, height) / 34;
  const boxes = result ? result.predictions.filter((p) => p.box) : [];
  // The surest last, on top of the others.
  layer.replaceChildren(...boxes.reverse().map((p) => {
    const [left, top, right, bottom] = p.box;
    const group = svg("g", {});
    const label = `${p.label} ${percent(p.score)}`;
    const tall = letter * 1.45;
    const wide = Math.min(width, label.length * letter * 0.56 + letter * 0.7);
    const y = top >= tall ? top - tall : top;
    const x = Math.max(0, Math.min(left, width - wide));
    group.append(
      svg("rect", { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) }),
      svg("rect", { class: "tag", x, y, width: wide, height: tall }),
      svg("text", { x: x + letter * 0.35, y: y + letter * 1.05, "font-size": letter }, label),
    );
    for (const [px, py, ps] of p.keypoints || []) if (ps > 0) group.append(svg("circle", { cx: px, cy: py, r: letter / 4 }));
    return group;
  }));
}

function show(image, layer, blob, result) {
  return new Promise((done) => {
    const old = image.src;
    image.onload = () => { drawBoxes(layer, image, result); if (old.startsWith("blob:")) URL.revokeObjectURL(old); done(true); };
    image.onerror = () => done(false);
    image.src = URL.createObjectURL(blob);
  });
}

async function newestPicture() {
  const response = await api("/live/picture");
  if (!response.ok) return;
  const blob = await response.blob();
  const [result] = JSON.parse(response.headers.get("edge-result") || "[]");
  if (await show($("picture"), $("boxes"), blob, result)) {
    $("picture").alt = result ? `Newest picture: ${headline(result).join(" ")}` : "Newest picture";
    $("now-picture").hidden = false;
    if (result) showResult(result);
  }
}

// --- the page --------------------------------------------------------------------------------------------

function showResult(result) {
  $("nothing").hidden = true;
  $("now").hidden = false;
  $("now").classList.toggle("both", state.picture);
  const [main, aside] = headline(result);
  $("headline").replaceChildren(main, ...(aside ? [make("small", {}, ` ${aside}`)] : []));
  $("when").textContent = result.reason || `${clock(result.time)} · ${result.source} · no. ${whole(result.seq)}`;
  fillBars($("bars"), result.reason ? { predictions: [], task: "" } : result);
}

function showSample(newest) {
  const row = newest && (newest.kind === "row" || newest.kind === "array") ? newest : null;
  $("now-row").hidden = !row;
  if (!row) return;
  const named = row.kind === "row";
  const flat = named ? Object.entries(row.values) : row.values.flat(3).map((v, i) => [i, v]);
  $("values").classList.toggle("dense", !named);
  $("values").classList.toggle("eight", !named && flat.length % 8 === 0);
  $("values").replaceChildren(...flat.map(([name, value]) => {
    const text = typeof value === "number" ? number(value, 4) : typeof value === "string" ? value : JSON.stringify(value);
    const pair = make("div", {}, make("dd", {}, text));
    pair.prepend(make("dt", named ? { title: name } : { class: "visually-hidden" }, String(name)));
    return pair;
  }));
}

function drawChart(name, values, format, low) {
  const chart = $(`${name}-chart`);
  if (values.length < 2) { chart.setAttribute("aria-label", "Too few results yet"); $(`${name}-span`).textContent = "drawn from the second result on"; return; }
  const high = Math.max(...values);
  const least = Math.min(...values);
  const floor = low === null ? least : Math.min(low, least);
  const span = high - floor || Math.abs(high) || 1;
  const at = (v, i) => `${((i / (values.length - 1)) * 300).toFixed(1)},${(124 - ((v - floor) / span) * 118).toFixed(1)}`;
  const points = values.map(at);
  chart.replaceChildren(
    ...[6, 65, 124].map((y) => svg("line", { class: "grid", x1: 0, x2: 300, y1: y, y2: y, "vector-effect": "non-scaling-stroke" })),
    svg("polygon", { class: "area", points: `0,124 ${points.join(" ")} 300,124` }),
    svg("polyline", { class: "trace", points: points.join(" ") }),
  );
  const middle = median(values);
  chart.setAttribute("aria-label", `The last ${values.length} results: median ${format(middle)}, from ${format(least)} to ${format(high)}`);
  $(`${name}-now`).textContent = format(values[values.length - 1]);
  $(`${name}-low`).textContent = `lowest ${format(least)}`;
  $(`${name}-high`).textContent = `highest ${format(high)}`;
  $(`${name}-span`).textContent = `last ${values.length}`;
}

function render() {
  if (!state.stale || state.paused) return;
  state.stale = false;
  const newest = state.newest;
  if (newest && !(state.picture && $("picture").src)) showResult(newest);
  const scored = state.points.filter((p) => p.score !== null);
  $("score-card").hidden = scored.length === 0 && state.points.length > 0;
  const regression = newest && newest.task === "regress";
  $("score-title").textContent = regression ? "Value" : newest && newest.task === "classify" ? "Score of the first class" : "Score";
  drawChart("score", scored.map((p) => p.score), (v) => number(v), regression ? null : 0);
  drawChart("latency", state.points.map((p) => p.latency), ms, 0);
  const spent = state.points.map((p) => p.latency);
  if (spent.length) {
    $("f-latency").replaceChildren(ms(median(spent)), make("small", {}, "ms"));
    const t = newest.timing_ms || {};
    if (newest.timing_ms) $("n-latency").textContent = `of it the model ${ms(t.infer)} ms`;
  }
  $("results").replaceChildren(...state.rows.map((result) => {
    const [main, aside] = headline(result);
    const what = result.reason ? make("td", { class: "what bad" }, `Skipped: ${result.reason}`) : make("td", { class: "what" }, `${main} `, make("span", { class: "muted" }, aside));
    return make("tr", {},
      make("td", { class: "time" }, clock(result.time)), what,
      make("td", { class: "from", title: result.source }, result.source),
      make("td", { class: "num" }, result.reason ? "" : ms(total(result))));
  }));
  $("missed").textContent = state.missed ? `${whole(state.missed)} not shown: they come faster than a page can` : "";
}

function take(kind, data) {
  if (kind === "missed") state.missed += data.count;
  if (kind !== "result" && kind !== "skipped") return;
  state.rows.unshift(data);
  state.rows.length = Math.min(state.rows.length, ROWS);
  if (kind === "result") {
    state.newest = data;
    state.points.push({ score: score(data), latency: total(data) });
    if (state.points.length > MOST) state.points.shift();
  }
  state.stale = true;
}

function link(name, text) {
  if ($("link").dataset.state === name && $("link").textContent === text) return;
  $("link").dataset.state = name;
  $("link").textContent = text;
}

// Server-sent events by fetch: EventSource cannot send a token.
async function listen() {
  try {
    const response = await api("/events", { headers: { Accept: "text/event-stream" } });
    if (!response.ok) throw new Error(String(response.status));
    failures = 0;
    link(state.paused ? "paused" : "live", state.paused ? "Paused" : "Live");
    reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) {
        const fields = Object.fromEntries(event.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
        if (fields.event && fields.data && !state.paused) take(fields.event, JSON.parse(fields.data));
      }
    }
  } catch (error) {
    if (!$("login").hidden) return;
  }
  failures += 1;
  if (!state.paused) link("away", "Reconnecting");
  setTimeout(listen, Math.min(10000, 1000 * failures));
}

// --- state -----------------------------------------------------------------------------------------------

function figures(now) {
  const stats = now.stats;
  const done = stats.results + now.http.inferences;
  const before = state.totals;
  state.totals = { done, at: performance.now(), boot: now.info.boot };
  if (before && before.boot === now.info.boot) {
    const rate = (done - before.done) / ((state.totals.at - before.at) / 1000);
    $("f-rate").textContent = rate >= 100 ? whole(Math.round(rate)) : number(rate, 2);
  }
  $("n-rate").textContent = now.source ? `from ${place(now.source)}` : "from requests only";
  $("f-results").textContent = whole(done);
  const skipped = stats.skipped + now.http.failed;
  $("n-results").textContent = `${whole(skipped)} skipped, ${whole(now.http.inferences)} by HTTP`;
  const lanes = Object.values(stats.lanes);
  const mqtt = stats.lanes.mqtt;
  $("f-broker").textContent = mqtt ? (mqtt.connected ? "Connected" : "Away") : "None";
  $("f-broker").classList.toggle("alarm", Boolean(mqtt && !mqtt.connected));
  $("n-broker").textContent = mqtt ? `${whole(mqtt.confirmed)} confirmed, ${whole(mqtt.reconnects)} reconnects` : "started with --mqtt none";
  const depth = lanes.reduce((sum, lane) => sum + lane.depth, 0);
  const bytes = lanes.reduce((sum, lane) => sum + lane.spool_bytes, 0);
  const lost = lanes.flatMap((lane) => Object.values(lane.spool_dropped)).reduce((sum, count) => sum + count, 0);
  $("f-spool").textContent = whole(depth);
  $("f-spool").classList.toggle("warn", depth > 64);
  $("n-spool").textContent = lost ? `${whole(lost)} dropped by the spool` : bytes ? `${size(bytes)} on disk` : "nothing on disk";
  const celsius = now.board.temperature_c;
  $("board").hidden = celsius === null;
  if (celsius !== null) {
    $("f-temperature").replaceChildren(celsius.toFixed(0), make("small", {}, "°C"));
    $("f-temperature").classList.toggle("alarm", celsius >= 80);
    $("n-temperature").textContent = now.board.problems.join(", ") || "no throttling";
  }
}

function facts(now) {
  const { info, manifest } = now;
  const model = info.model;
  const tensor = (t) => `${t.name} ${t.dtype}${t.shape ? ` [${t.shape.map((d) => d ?? "?").join(", ")}]` : ""}`;
  const groups = [["", [
    ["Task", model.task], ["Version", model.version], ["File", model.file], ["Engine", `${info.engine.name} ${info.engine.version}, ${info.engine.threads} thread${info.engine.threads > 1 ? "s" : ""}`],
    ["Inputs", model.inputs.map(tensor).join("; ")], ["Outputs", model.outputs.map(tensor).join("; ")],
    ["Labels", manifest.labels.length ? `${manifest.labels.slice(0, 8).join(", ")}${model.labels > 8 ? `, … (${model.labels})` : ""}` : "none"],
    ["SHA-256", make("span", { class: "mono", title: model.sha256 }, `${model.sha256.slice(0, 16)}…`)],
    ...(model.guessed.length ? [["Guessed", model.guessed.join(" ")]] : []),
    ...(manifest.description ? [["About", manifest.description]] : []),
    ...(manifest.license ? [["Licence", manifest.license]] : []),
  ]]];
  const p = manifest.parity;
  if (p) {
    groups.push(["Parity with the original model", [
      ["Verdict", p.passed === false ? make("span", { class: "bad" }, p.forced ? "failed, forced" : "failed") : "passed"],
      ["Rows compared", `${whole(p.rows || 0)}${p.source ? ` (${p.source})` : ""}`],
      ["Largest difference", number(p.max_difference || 0)],
      ...(p.agreement != null ? [["Agreement", percent(p.agreement)]] : []),
      ...(p.accuracy_after != null ? [["Accuracy", `${percent(p.accuracy_before)} before, ${percent(p.accuracy_after)} after`]] : []),
      ["Golden samples", whole(model.golden_samples)],
    ]]);
  }
  const origin = manifest.provenance;
  if (origin) groups.push(["Origin", [["Made with", origin.framework || "?"], ["From", origin.source || "?"], ["Passes", (origin.passes || []).join(", ") || "none"]]]);
  $("facts").replaceChildren(...groups.map(([title, pairs]) => make("div", { class: "group" }, ...(title ? [make("h3", {}, title)] : []),
    make("dl", { class: "facts" }, ...pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])))));
  $("model").textContent = model.name;
  $("device").textContent = `${info.device} · ${model.task} · ${info.engine.name}`;
  $("version").textContent = `edge-run ${info.versions["edge-run"]}`;
  document.title = `${model.name} on ${info.device}`;
}

function offer(example) {
  if (example) $("row").value = JSON.stringify(example, null, Array.isArray(example) ? 0 : 1);
}

let known = "";
async function poll() {
  try {
    const response = await api("/live/state");
    const now = await response.json();
    if (!state.paused) {
      figures(now);
      showSample(now.newest);
      const picture = Boolean(now.newest && now.newest.kind === "picture");
      if (picture !== state.picture) { state.picture = picture; $("now-picture").hidden = !picture; $("now").classList.toggle("both", picture); }
      if (!picture) $("picture").removeAttribute("src");
    }
    if (known !== now.info.boot) {
      known = now.info.boot;
      facts(now);
      const wantsPicture = now.manifest.inputs.some((i) => i.kind === "image");
      $("try-picture").hidden = !wantsPicture;
      $("try-row").hidden = wantsPicture;
    }
    if (!$("row").value && !$("try-row").hidden) offer(now.example ?? (now.newest && now.newest.values));
  } catch (error) {
    if (!$("login").hidden) return;
  }
  setTimeout(poll, 2000);
}

let shownSeq = -1;
async function pictures() {
  if (state.picture && !state.paused && state.newest && state.newest.seq !== shownSeq && !document.hidden) {
    shownSeq = state.newest.seq;
    try { await newestPicture(); } catch (error) { if (!$("login").hidden) return; }
  }
  setTimeout(pictures, 400);
}

// --- trying ----------------------------------------------------------------------------------------------

let mine = null;
function choose(file) {
  mine = file || null;
  $("asked").textContent = mine ? mine.name : "";
  $("answer").replaceChildren();
  $("preview").hidden = !mine;
  if (mine) show($("mine"), $("my-boxes"), mine, null);
}

async function ask() {
  const picture = !$("try-picture").hidden;
  if (picture && !mine) { $("answer").replaceChildren(make("p", { class: "bad" }, "Choose a picture first.")); $("file").focus(); return; }
  $("ask").disabled = true;
  try {
    const body = picture ? mine : $("row").value;
    const response = await api("/predict", { method: "POST", body, headers: { "Content-Type": picture ? mine.type || "application/octet-stream" : "application/json" } });
    const found = await response.json();
    if (!response.ok) throw new Error(found.error);
    const results = Array.isArray(found) ? found : [found];
    $("answer").replaceChildren(...results.slice(0, 10).map((result) => {
      if (result.reason) return make("p", { class: "bad" }, result.reason);
      const [main, aside] = headline(result);
      const list = make("ol", { class: "bars" });
      fillBars(list, result);
      return make("div", {}, make("p", { class: "headline" }, main, make("small", {}, ` ${aside}`)), make("p", { class: "when" }, `${ms(total(result))} ms`), list);
    }));
    if (picture) drawBoxes($("my-boxes"), $("mine"), results[0]);
  } catch (error) {
    $("answer").replaceChildren(make("p", { class: "bad" }, error.message));
  } finally {
    $("ask").disabled = false;
  }
}

$("try").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
$("file").addEventListener("change", () => choose($("file").files[0]));
for (const name of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
  });
}
$("pause").addEventListener("click", () => {
  state.paused = !state.paused;
  $("pause").setAttribute("aria-pressed", String(state.paused));
  $("pause").textContent = state.paused ? "Continue" : "Pause";
  link(state.paused ? "paused" : "live", state.paused ? "Paused" : "Live");
});
for (const id of ["metrics", "openapi"]) {
  // A link cannot carry the token: the text is fetched and shown.
  $(id).addEventListener("click", async (event) => {
    if (!session.token) return;
    event.preventDefault();
    const text = await (await api($(id).getAttribute("href"))).text();
    location.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  });
}

// A screen reader hears the newest result every five seconds at most, and only when it has changed.
let said = "";
setInterval(() => {
  if (state.paused || !state.newest) return;
  const text = headline(state.newest).join(" ");
  if (text !== said) { said = text; $("say").textContent = text; }
}, 5000);
setInterval(render, 250);

function start() { listen(); poll(); pictures(); }
onToken(start);
start();
