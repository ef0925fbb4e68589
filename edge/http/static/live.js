const MOST = 240;
const ROWS = 12;
const state = { points: [], rows: [], newest: null, totals: null, missed: 0, paused: false, kind: "none", stale: false };
const seen = new Set();
let failures = 0;

// --- the page --------------------------------------------------------------------------------------------

async function newestPicture() {
  const response = await api("/live/picture");
  if (!response.ok) return;
  const blob = await response.blob();
  const [result] = JSON.parse(response.headers.get("edge-result") || "[]");
  if (!result) {
    // It was refused. What shows stays; a page that was just opened has the newest result, which is of another sample.
    if (!$("now").hidden) return;
    $("now-picture").hidden = true;
    showResult(state.newest);
  } else if (await show($("picture"), $("boxes"), blob, result)) {
    $("picture").alt = `Newest picture: ${headline(result).join(" ")}`;
    $("now-picture").hidden = false;
    showResult(result);
    shareable(result, null);
  }
}

// The row and the result that belongs to it: results come faster than rows are shown.
async function newestRow() {
  const response = await api("/live/sample");
  if (!response.ok) return;
  const newest = await response.json();
  if (newest.kind === "picture") return newestPicture(); // the state does not tell of it yet
  if (newest.result) {
    showResult(newest.result);
    shareable(newest.result, newest);
  }
  showSample(newest);
}

function showResult(result) {
  $("nothing").hidden = true;
  $("now").hidden = false;
  $("now").classList.toggle("both", state.kind === "picture");
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

// A scale of two equal steps that are round numbers and hold both ends.
function scale(low, high) {
  const rough = (high - low) / 2 || Math.abs(high) / 2 || 0.5;
  const power = 10 ** Math.floor(Math.log10(rough));
  for (const factor of [1, 2, 2.5, 5, 10, 20]) {
    const step = factor * power;
    const floor = Math.floor(low / step) * step;
    if (step >= rough && floor + 2 * step >= high) return [floor, floor + 2 * step];
  }
  return [low, high];
}

function times(points) {
  const at = points.map((p) => Date.parse(p.time));
  const span = at[at.length - 1] - at[0];
  // Where some are left out, the gaps between the others say nothing.
  const steady = span > 0 && !state.missed && at.every((t, i) => i === 0 || t >= at[i - 1]);
  return at.map((t, i) => (steady ? (t - at[0]) / span : i / (at.length - 1)));
}

// `bounds` of the scale; a few results far above it are cut at its edge, and said in words.
function drawChart(name, points, key, format, bounds) {
  const chart = $(`${name}-chart`);
  const enough = points.length > 1;
  $(`${name}-none`).hidden = enough;
  if (!enough) return;
  const values = points.map((p) => p[key]);
  const sorted = [...values].sort((a, b) => a - b);
  const [least, middle, high] = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted[sorted.length - 1]];
  const [floor, top] = bounds(least, middle, high);
  const across = times(points);
  const at = (v, i) => `${(across[i] * 300).toFixed(1)},${(124 - ((Math.min(top, v) - floor) / (top - floor)) * 118).toFixed(1)}`;
  const line = values.map(at).join(" ");
  chart.replaceChildren(
    ...[6, 65, 124].map((y) => svg("line", { class: "grid", x1: 0, x2: 300, y1: y, y2: y, "vector-effect": "non-scaling-stroke" })),
    svg("polygon", { class: "area", points: `0,124 ${line} 300,124` }),
    svg("polyline", { class: "trace", points: line }),
  );
  chart.setAttribute("aria-label", `The last ${values.length} results: median ${format(middle)}, from ${format(least)} to ${format(high)}`);
  $(`${name}-now`).textContent = format(values[values.length - 1]);
  $(`${name}-range`).textContent = `${format(least)} to ${format(high)}, median ${format(middle)}`;
  $(`${name}-scale`).replaceChildren(...[top, (top + floor) / 2, floor].map((v) => make("span", {}, number(v))));
  $(`${name}-from`).textContent = clock(points[0].time);
  $(`${name}-count`).textContent = `${points.length} results`;
  $(`${name}-to`).textContent = clock(points[points.length - 1].time);
}

function render() {
  if (!state.stale || state.paused) return;
  state.stale = false;
  const newest = state.newest;
  const scored = state.points.filter((p) => p.score !== null);
  $("score-card").hidden = scored.length === 0 && state.points.length > 0;
  const regression = newest && newest.task === "regress";
  $("score-title").textContent = regression ? "Value" : newest && newest.task === "classify" ? "Score of the first class" : "Score";
  const share = newest && (newest.task === "classify" || newest.task === "detect") && scored.every((p) => p.score <= 1);
  drawChart("score", scored, "score", (v) => number(v), share ? () => [0, 1] : (least, middle, high) => scale(least, high));
  drawChart("latency", state.points, "latency", ms, (least, middle, high) => [0, scale(0, Math.min(high, 5 * middle))[1]]);
  if (state.points.length) {
    $("f-latency").replaceChildren(ms(median(state.points.map((p) => p.latency))), make("small", {}, "ms"));
    $("n-latency").textContent = `of it the model ${ms(median(state.points.map((p) => p.infer)))} ms`;
  }
  $("no-results").hidden = state.rows.length > 0;
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
  // Who comes again is told the last results again.
  const id = data.id || `${data.source} ${data.seq} ${data.time}`;
  if (seen.has(id)) return;
  seen.add(id);
  if (seen.size > 2 * MOST) seen.delete(seen.values().next().value);
  state.rows.unshift(data);
  state.rows.length = Math.min(state.rows.length, ROWS);
  if (kind === "result") {
    state.newest = data;
    state.points.push({ time: data.time, score: score(data), latency: total(data), infer: data.timing_ms.infer });
    if (state.points.length > MOST) state.points.shift();
  }
  state.stale = true;
}

function link(name, text) {
  if ($("link").dataset.state === name && $("link").textContent === text) return;
  $("link").dataset.state = name;
  document.body.dataset.link = name;
  $("link").textContent = text;
}

// Server-sent events by fetch: EventSource cannot send a token.
async function listen() {
  try {
    const response = await api("/events", { headers: { Accept: "text/event-stream" } });
    if (!response.ok) throw new Error(String(response.status));
    failures = 0;
    link(state.paused ? "paused" : "live", state.paused ? "Paused" : "Live");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
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
  const away = Boolean(now.source) && !now.source_up;
  $("n-rate").textContent = now.source ? `${away ? "not there: " : "from "}${place(now.source)}` : "from requests only";
  $("n-rate").classList.toggle("bad", away);
  const waits = away ? `${place(now.source)} is not there. It is tried again and again; the log says why.` : `Waiting for the first sample from ${place(now.source)}.`;
  $("hint").textContent = now.source ? waits : "Nothing came yet. Try your own, or POST to /predict.";
  $("f-results").textContent = whole(done);
  const skipped = stats.skipped + now.http.failed;
  const still = stats.dropped.motion ? `, ${whole(stats.dropped.motion)} without motion` : "";
  $("n-results").textContent = `${whole(skipped)} skipped, ${whole(now.http.inferences)} by HTTP${still}`;
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
    $("f-temperature").replaceChildren(fixed(celsius, 0), make("small", {}, "°C"));
    $("f-temperature").classList.toggle("alarm", celsius >= 80);
    $("n-temperature").textContent = now.board.problems.join(", ") || "no throttling";
  }
}

function facts(now) {
  const { info, manifest } = now;
  const model = info.model;
  const tensor = (t) => `${t.name} ${t.dtype}${t.shape ? ` [${t.shape.map((d) => d ?? "?").join(", ")}]` : ""}`;
  const lines = (texts) => make("ul", {}, ...texts.map((text) => make("li", {}, text)));
  const groups = [["", [
    ["Task", model.task], ["Version", model.version], ["File", model.file], ["Engine", `${info.engine.name} ${info.engine.version}, ${info.engine.threads} thread${info.engine.threads > 1 ? "s" : ""}`],
    ["Inputs", lines(model.inputs.map(tensor))], ["Outputs", lines(model.outputs.map(tensor))],
    ["Labels", manifest.labels.length ? `${manifest.labels.slice(0, 8).join(", ")}${model.labels > 8 ? `, … (${model.labels})` : ""}` : "none"],
    ["SHA-256", make("span", { class: "mono", title: model.sha256 }, `${model.sha256.slice(0, 16)}…`)],
    ...(model.guessed.length ? [["Guessed", lines(pairs(model.guessed))]] : []),
    ...(info.then ? [["Second model", `${info.then.name}, ${info.then.task}`]] : []),
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
  if (model.task === "regress") $("score-title").textContent = "Value";
  $("model").textContent = model.name;
  $("device").textContent = `${info.device} · ${model.task} · ${info.engine.name}`;
  $("version").textContent = `edge-run ${info.versions["edge-run"]}`;
  document.title = `${model.name} on ${info.device}`;
}

// Of several runs one is shown: what another one would add is another model's. True where the page is another one's.
let listed = "";
function chooseRun(now) {
  if (now.runs.length < 2) return false;
  if (!chosen) {
    location.replace(`?model=${encodeURIComponent(now.info.model.name)}`);
    return true;
  }
  const list = JSON.stringify(now.runs);
  if (listed === list) return false;
  listed = list;
  $("runs").replaceChildren(...now.runs.map((run) => {
    const option = make("option", { value: run.name }, run.ended ? `${run.name} (ended)` : run.name);
    option.selected = run.name === chosen;
    return option;
  }));
  $("runs").hidden = false;
  const own = now.runs.find((run) => run.name === chosen);
  $("run-ended").hidden = !(own && own.ended);
  $("run-ended").textContent = own && own.ended ? `This run has ended: ${own.ended}` : "";
  return false;
}

let known = "";
async function poll() {
  try {
    const response = await api("/live/state");
    const now = await response.json();
    if (!response.ok) {
      $("run-ended").hidden = false;
      $("run-ended").textContent = now.error;
      throw new Error(now.error);
    }
    if (chooseRun(now)) return;
    if (!state.paused) {
      figures(now);
      watchesDrift = now.drift;
      const kind = now.newest ? now.newest.kind : "none";
      if (kind !== state.kind) {
        state.kind = kind;
        shownSeq = null;
        $("now-picture").hidden = kind !== "picture";
        $("now").classList.toggle("both", kind === "picture");
        if (kind === "picture") showSample(null); else $("picture").removeAttribute("src");
      }
    }
    const runs = `${now.info.boot} ${now.info.model.sha256}`;
    if (known !== runs) {
      known = runs;
      facts(now);
      places = placesOf(now.info);
      drawing.tracked = Boolean(now.info.tracking);
      drawing.run = now.runs.length > 1 ? chosen : "";
      $("draw").hidden = !["detect", "keypoints"].includes(now.info.model.task);
      const wantsPicture = now.manifest.inputs.some((i) => i.kind === "image");
      $("try-picture").hidden = !wantsPicture;
      $("try-row").hidden = wantsPicture;
    }
    if (mayOffer()) offer(now.example ?? (now.newest && !isCut(now.newest) && now.newest.values));
  } catch (error) {
    if (!$("login").hidden) return;
  }
  setTimeout(poll, 2000);
}

let shownSeq = null;
async function samples() {
  if (state.newest && !state.paused && state.newest.id !== shownSeq && !document.hidden) {
    shownSeq = state.newest.id;
    try { await (state.kind === "picture" ? newestPicture() : newestRow()); } catch (error) { if (!$("login").hidden) return; }
  }
  setTimeout(samples, 400);
}

// --- controls --------------------------------------------------------------------------------------------

$("pause").addEventListener("click", () => {
  state.paused = !state.paused;
  $("pause").setAttribute("aria-pressed", String(state.paused));
  $("pause").textContent = state.paused ? "Continue" : "Pause";
  link(state.paused ? "paused" : "live", state.paused ? "Paused" : "Live");
});
$("runs").addEventListener("change", () => { location.search = `?model=${encodeURIComponent($("runs").value)}`; });
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

function start() { listen(); poll(); samples(); drift(); }
onToken(start);
start();
