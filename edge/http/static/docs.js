function sample(schema, all, depth = 0) {
  if (!schema || depth > 4) return null;
  if (schema.$ref) return sample(all[schema.$ref.split("/").pop()], all, depth + 1);
  if (schema.example !== undefined) return schema.example;
  if (schema.anyOf) return sample(schema.anyOf[0], all, depth + 1);
  if (schema.type === "object") {
    const wanted = Object.entries(schema.properties || {}).filter(([name]) => !schema.required || schema.required.includes(name) || name === "data");
    return Object.fromEntries(wanted.map(([name, inner]) => [name, sample(inner, all, depth + 1)]));
  }
  if (schema.type === "array") return schema.items ? [sample(schema.items, all, depth + 1)] : [];
  return { string: "text", integer: 1, number: 1.0, boolean: true }[schema.type] ?? null;
}

// A body that this very model takes, where it is short enough to be typed.
const MOST = 64;
function body(path, schema, all, device) {
  const zeros = (t) => {
    const shape = t.shape.map((size) => (size < 0 ? 1 : size));
    const zero = t.datatype === "BYTES" ? "text" : t.datatype === "BOOL" ? false : 0;
    return { name: t.name, shape, datatype: t.datatype, data: Array(Math.min(MOST + 1, shape.reduce((a, b) => a * b, 1))).fill(zero) };
  };
  const tensors = device.inputs.map(zeros);
  const short = tensors.every((t) => t.data.length <= MOST);
  if (path.endsWith("/infer")) return short ? { inputs: tensors } : null;
  const example = device.example ?? (short && tensors.length === 1 && !device.pictures ? tensors[0].data : null);
  if (path === "/predict") return example;
  if (path === "/invocations") return example === null ? null : { inputs: [example] };
  if (path.endsWith(":classify") || path.endsWith(":regress")) return example === null || Array.isArray(example) ? null : { examples: [example] };
  if (path.endsWith(":predict")) return example === null ? null : { instances: [example] };
  return sample(schema, all);
}

function curl(path, verb, operation, all, device) {
  const token = session.token ? ` -H "Authorization: Bearer $TOKEN"` : "";
  const address = `${location.origin}${path}`;
  const content = operation.requestBody && operation.requestBody.content;
  if (!content) return `curl${verb === "POST" ? " -X POST" : ""}${token} ${address}`;
  if (path === "/predict" && device.pictures) return `curl${token} --data-binary @picture.jpg ${address}`;
  const value = body(path, content["application/json"].schema, all, device);
  const quoted = value === null ? "@request.json" : `'${JSON.stringify(value).replaceAll("'", "'\\''")}'`;
  return `curl${token} --json ${quoted} ${address}`;
}

function operation(path, verb, told, all, device) {
  const here = path.replace("{model}", device.name).replace("{version}", device.version).replace("{label}", "stable");
  const inside = make("div", { class: "inside" });
  if (told.description) inside.append(make("p", { class: "muted" }, told.description));
  inside.append(make("h3", {}, "Ask"), make("pre", { tabindex: "0" }, curl(here, verb, told, all, device)));
  const types = Object.keys((told.requestBody && told.requestBody.content) || {});
  if (types.length) inside.append(make("h3", {}, "Takes"), make("p", { class: "mono" }, types.join(", ")));
  inside.append(make("h3", {}, "Answers"), make("p", { class: "mono" }, Object.keys(told.responses[200].content || {}).join(", ")));
  return make("details", {},
    make("summary", {}, make("span", { class: "verb", "data-verb": verb }, verb), make("code", {}, path), make("span", { class: "muted" }, told.summary || "")),
    inside);
}

async function start() {
  const [document_, state] = await Promise.all([api("/openapi.json"), api("/live/state")]);
  const told = await document_.json();
  const { info, manifest, example } = await state.json();
  const { name, version } = info.model;
  const { inputs } = await (await api(`/v2/models/${name}`)).json();
  const device = { name, version, inputs, example, pictures: manifest.inputs.some((i) => i.kind === "image") };
  $("intro").textContent = `${told.info.description} Errors answer {"error": "..."}. The document itself is at /openapi.json.`;
  const groups = new Map();
  for (const [path, verbs] of Object.entries(told.paths)) {
    for (const [verb, inner] of Object.entries(verbs)) {
      const tag = (inner.tags || ["Other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(path, verb.toUpperCase(), inner, told.components.schemas, device));
    }
  }
  $("groups").replaceChildren(...[...groups].map(([tag, operations]) => make("section", {}, make("h2", {}, tag), ...operations)));
}
const begin = () => start().catch((error) => { $("intro").textContent = error.message; });
onToken(begin);
begin();
