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

function curl(path, verb, operation, all) {
  const token = session.token ? ` -H "Authorization: Bearer $TOKEN"` : "";
  const address = `${location.origin}${path}`;
  const body = operation.requestBody && operation.requestBody.content;
  if (!body) return `curl${verb === "POST" ? " -X POST" : ""}${token} ${address}`;
  if (body["image/jpeg"]) return `curl${token} --data-binary @picture.jpg ${address}\ncurl${token} --json '[1, 2, 3]' ${address}`;
  return `curl${token} --json '${JSON.stringify(sample(body["application/json"].schema, all))}' ${address}`;
}

function operation(path, verb, told, all, model) {
  const here = path.replace("{model}", model.name).replace("{version}", model.version);
  const inside = make("div", { class: "inside" });
  if (told.description) inside.append(make("p", { class: "muted" }, told.description));
  inside.append(make("h3", {}, "Ask"), make("pre", { tabindex: "0" }, curl(here, verb, told, all)));
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
  const model = (await state.json()).info.model;
  $("intro").textContent = `${told.info.description} Errors answer {"error": "..."}. The document itself is at /openapi.json.`;
  const groups = new Map();
  for (const [path, verbs] of Object.entries(told.paths)) {
    for (const [verb, inner] of Object.entries(verbs)) {
      const tag = (inner.tags || ["Other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(path, verb.toUpperCase(), inner, told.components.schemas, model));
    }
  }
  $("groups").replaceChildren(...[...groups].map(([tag, operations]) => make("section", {}, make("h2", {}, tag), ...operations)));
}
const begin = () => start().catch((error) => { $("intro").textContent = error.message; });
onToken(begin);
begin();
