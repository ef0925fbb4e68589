// --- trying ----------------------------------------------------------------------------------------------

const FIELDS = 24;
let mine = null;
let example = null;

// What is typed is left alone, an empty field too: its next letter may be under way.
let typed = false;
$("row").addEventListener("input", () => { typed = true; });
const mayOffer = () => !typed && !$("try-row").hidden && !$("row").value && document.activeElement !== $("row");

const isRow = (value) => Boolean(value) && typeof value === "object" && !Array.isArray(value);

// A row by names gets a field for each; anything else is JSON.
function offer(value) {
  if (!value) return;
  example = value;
  $("row").value = JSON.stringify(value, null, Array.isArray(value) ? 0 : 1);
  const names = isRow(value) ? Object.keys(value) : [];
  const fits = names.length > 0 && names.length <= FIELDS && names.every((name) => value[name] === null || typeof value[name] !== "object");
  $("as-json").hidden = !fits;
  if (fits) fillFields(value);
  showFields(fits);
}

function fillFields(row) {
  $("fields").replaceChildren(...Object.keys(example).map((name, at) => {
    const kind = typeof example[name] === "string" ? { type: "text" } : { type: "number", step: "any" };
    const field = make("input", { id: `field-${at}`, name, autocomplete: "off", placeholder: "missing", ...kind });
    field.value = row[name] ?? "";
    return make("div", {}, make("label", { for: `field-${at}` }, name), field);
  }));
}

function rowOfFields() {
  return Object.fromEntries([...$("fields").querySelectorAll("input")].map((field) =>
    [field.name, field.value === "" ? null : field.type === "number" ? Number(field.value) : field.value]));
}

function showFields(yes) {
  $("fields").hidden = !yes;
  $("json").hidden = yes;
  $("as-json").textContent = yes ? "Edit as JSON" : "Edit as fields";
}

function toggleFields() {
  if (!$("fields").hidden) {
    $("row").value = JSON.stringify(rowOfFields(), null, 1);
    showFields(false);
    return;
  }
  try {
    const row = JSON.parse($("row").value);
    if (!isRow(row)) throw new Error();
    fillFields(row);
    showFields(true);
  } catch (error) {
    complain("Only one row by feature names, {\"name\": value}, can be edited as fields.");
  }
}

const complain = (text) => $("answer").replaceChildren(make("p", { class: "bad" }, text));

function choose(file) {
  mine = file || null;
  $("asked").textContent = mine ? mine.name : "";
  $("answer").replaceChildren();
  $("preview").hidden = !mine;
  if (mine) show($("mine"), $("my-boxes"), mine, null).then((good) => { $("preview").hidden = !good; });
}

async function ask() {
  const picture = !$("try-picture").hidden;
  if (picture && !mine) { complain("Choose a picture first."); $("file").focus(); return; }
  $("ask").disabled = true;
  try {
    const body = picture ? mine : $("fields").hidden ? $("row").value : JSON.stringify(rowOfFields());
    const response = await api("/predict", { method: "POST", body, headers: { "Content-Type": picture ? mine.type || "application/octet-stream" : "application/json" } });
    const found = await response.json();
    if (!response.ok) throw new Error(found.error);
    if (found.reason) { complain(found.reason); return; }
    const results = Array.isArray(found) ? found : [found];
    $("answer").replaceChildren(...results.slice(0, 10).map((result) => {
      if (result.reason) return make("p", { class: "bad" }, result.reason);
      const [main, aside] = headline(result);
      const list = make("ol", { class: "bars" });
      fillBars(list, result);
      return make("div", {}, make("p", { class: "headline" }, main, make("small", {}, ` ${aside}`)), make("p", { class: "when" }, `${ms(total(result))} ms`), list);
    }));
    if (results.length > 10) $("answer").append(make("p", { class: "muted" }, `and ${whole(results.length - 10)} more`));
    if (picture) drawBoxes($("my-boxes"), $("mine"), results[0]);
  } catch (error) {
    complain(error instanceof TypeError ? "The device does not answer." : error.message);
  } finally {
    $("ask").disabled = false;
  }
}

$("try").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
$("as-json").addEventListener("click", toggleFields);
$("file").addEventListener("change", () => choose($("file").files[0]));
for (const name of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
  });
}
