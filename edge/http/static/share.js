// --- sharing ---------------------------------------------------------------------------------------------
// The newest input with its result, as the two show: handed to another app where the browser can, else copied or saved.
// Browsers hand over from https and from this machine alone, so a phone that asks by http saves.

let shown = null;

// `sample` as /live/sample tells it; null where the input is the picture that shows.
function shareable(result, sample) {
  shown = { result, sample };
  $("share-row").hidden = false;
}

const SHARES = Boolean(navigator.canShare && navigator.canShare({ files: [new File(["x"], "x.jpg", { type: "image/jpeg" })] }));
$("share").hidden = !SHARES;
$("copy").hidden = $("save").hidden = SHARES;

const fileName = (ending) => `${$("model").textContent}-${shown.result.seq}.${ending}`;
const sentence = () => `${headline(shown.result).filter(Boolean).join(" ")} (${document.title}, ${shown.result.time})`;

function asJson() {
  const { result, sample } = shown;
  if (!sample) return JSON.stringify({ result }, null, 1);
  const cut = isCut(sample);
  return JSON.stringify({ input: sample.values, ...(cut ? { input_is_cut: `the first of ${sample.count}` } : {}), result }, null, 1);
}

// The picture with what is drawn over it.
function asPicture() {
  const image = $("picture");
  const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  pen.lineWidth = Math.max(2, Math.max(canvas.width, canvas.height) / 300);
  for (const node of $("boxes").querySelectorAll("polygon, polyline, path, rect, circle, text")) {
    const style = getComputedStyle(node);
    const at = (name) => Number(node.getAttribute(name));
    pen.fillStyle = style.fill;
    pen.strokeStyle = style.stroke;
    if (node.tagName === "path" || node.points) {
      const shape = node.points ? `M${[...node.points].map((p) => `${p.x} ${p.y}`).join("L")}${node.tagName === "polygon" ? "Z" : ""}` : node.getAttribute("d");
      pen[node.tagName === "path" ? "fill" : "stroke"](new Path2D(shape));
    } else if (node.tagName === "text") {
      pen.font = `600 ${at("font-size")}px ${style.fontFamily}`;
      pen.fillText(node.textContent, at("x"), at("y"));
    } else if (node.tagName === "circle") {
      pen.beginPath();
      pen.arc(at("cx"), at("cy"), at("r"), 0, 2 * Math.PI);
      pen.fill();
    } else {
      pen[node.classList.contains("tag") ? "fillRect" : "strokeRect"](at("x"), at("y"), at("width"), at("height"));
    }
  }
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

async function asFile() {
  return shown.sample
    ? new File([asJson()], fileName("json"), { type: "application/json" })
    : new File([await asPicture()], fileName("jpg"), { type: "image/jpeg" });
}

async function share() {
  const row = shown.sample ? `\n${asJson()}` : "";
  const told = { text: `${sentence()}${row}`, ...(shown.sample ? {} : { files: [await asFile()] }) };
  try {
    await navigator.share(told);
  } catch (error) {
    if (error.name !== "AbortError") $("shared").textContent = `Not shared: ${error.message}`;
  }
}

async function save() {
  const file = await asFile();
  const address = URL.createObjectURL(file);
  make("a", { href: address, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  $("shared").textContent = `Saved as ${file.name}`;
}

async function copy() {
  const text = asJson();
  try {
    await navigator.clipboard.writeText(text);
  } catch (error) {
    // By http there is no clipboard but the old one.
    const area = make("textarea", { class: "visually-hidden", readonly: "" });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    $("copy").focus();
    if (!copied) { $("shared").textContent = "The browser does not let a page copy; save it."; return; }
  }
  $("shared").textContent = "Copied";
}

for (const [name, action] of [["share", share], ["copy", copy], ["save", save]]) $(name).addEventListener("click", action);
