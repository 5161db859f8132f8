// The page around the network: pictures come in, the network of network.js answers, explorer.js shows its maps.

const root = document.getElementById("live"), facts = JSON.parse(document.getElementById("facts").textContent);
const { size, grain, classes } = facts;

// Halves (IEEE 754, 16 bits) from base64, as numbers.
function halves(text) {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0)), view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => {
    const bits = view.getUint16(2 * i, true), sign = bits >> 15 ? -1 : 1, exponent = bits >> 10 & 31, rest = bits & 1023;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + rest / 1024) : 2 ** -14 * rest / 1024);
  });
}

const tensors = new Map(), all = halves(facts.weights);
facts.shapes.reduce((from, [name, length]) => {
  tensors.set(name, all.subarray(from, from + length));
  return from + length;
}, 0);
const weight = name => ({ weight: tensors.get(`${name}.weight`), bias: tensors.get(`${name}.bias`) });

// Red, green and blue of a canvas as numbers, three for each pixel.
function colours(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((_, i) => i % 4 < 3);
}

// A square of `from`×`from` pixels enlarged to `to`×`to`, bicubic, byte for byte as Pillow does it in training.
function enlarged(pixels, from, to) {
  const cubic = t => t < 1 ? (1.5 * t - 2.5) * t * t + 1 : t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
  const rows = Array.from({ length: to }, (_, x) => {
    const centre = (x + 0.5) * from / to, first = Math.max(0, Math.trunc(centre - 1.5));
    const count = Math.min(from, Math.trunc(centre + 2.5)) - first;
    const shares = Array.from({ length: count }, (_, i) => cubic(Math.abs(first + i + 0.5 - centre)));
    const total = shares.reduce((a, b) => a + b);
    return { first, shares: shares.map(share => Math.round(share / total * 2 ** 22)) };  // 22 bits, as in Pillow
  });
  const along = (read, lines) => {
    const out = new Uint8ClampedArray(lines * to * 3);
    for (let line = 0; line < lines; line++)
      rows.forEach(({ first, shares }, x) => {
        for (let c = 0; c < 3; c++)
          out[(line * to + x) * 3 + c] = Math.floor(
            shares.reduce((sum, share, i) => sum + share * read(line, first + i, c), 2 ** 21) / 2 ** 22);
      });
    return out;
  };
  const wide = along((y, x, c) => pixels[(y * from + x) * 3 + c], from);
  const turned = along((x, y, c) => wide[(y * to + x) * 3 + c], to);
  return turned.map((_, i) => turned[(Math.floor(i / 3) % to * to + Math.floor(i / 3 / to)) * 3 + i % 3]);
}

// What the network says of size×size pixels, three bytes each.
function ask(pixels) {
  const values = Float32Array.from(pixels, (byte, i) => (byte / 255 - facts.mean[i % 3]) / facts.std[i % 3]);
  return twins(grid(size, size, 3, values), facts.variant, weight);
}

function shares(logits) {
  const highest = Math.max(...logits), powers = logits.map(logit => Math.exp(logit - highest));
  return powers.map(power => power / powers.reduce((a, b) => a + b));
}

// ------------------------------------------------------------------------------------------------- the page

const square = side => element("canvas", { width: side, height: side });
const small = square(grain), shown = square(size), evidence = square(6 * size);
const said = element("p", { className: "twx-look" }), told = element("p", { className: "twx-quiet" });
const problem = element("p", { className: "live-problem" }), bars = element("div", { className: "live-bars" });
said.setAttribute("aria-live", "polite");
problem.setAttribute("role", "alert");
evidence.className = "live-evidence";
evidence.setAttribute("role", "img");
const attention = element("div", { id: "attention", className: "twx" }, element("style"));
let answer = null, chosen = null, explorer = null;
const data = { title: "Where does a patch look?", width: size, height: size, head: -1, blocks: [] };

// Show what the network says of the picture that is now in `small`.
function answerIt() {
  const pixels = enlarged(colours(small), grain, size), pen = shown.getContext("2d");
  const picture = pen.createImageData(size, size);
  picture.data.forEach((_, i) => { picture.data[i] = i % 4 < 3 ? pixels[Math.floor(i / 4) * 3 + i % 4] : 255; });
  pen.putImageData(picture, 0, 0);
  answer = ask(pixels);
  data.blocks = answer.blocks.map(block =>
    ({ ...block, name: `Stage ${block.stage}, block ${block.number} (${block.kind})` }));
  explorer = explorer || start(attention, data, shown, "attention");
  explorer();
  const order = shares(answer.logits).map((share, c) => ({ share, c })).sort((a, b) => b.share - a.share);
  chosen = order[0].c;
  said.textContent = `The network says: ${classes[chosen]} (${percent(order[0].share)}), then ${classes[order[1].c]} `
    + `(${percent(order[1].share)}).`;
  bars.replaceChildren(...order.map(({ share, c }) => {
    const input = element("input", { type: "radio", name: "class", checked: c === chosen,
      onchange: () => { chosen = c; drawEvidence(); } });
    const bar = element("span", { className: "live-bar" });
    bar.style.width = `${100 * share}%`;
    return element("label", {}, input, element("span", { className: "live-row" },
      element("span", { textContent: classes[c] }), element("span", { className: "live-track" }, bar),
      element("span", { textContent: percent(share) })));
  }));
  drawEvidence();
}

function drawEvidence() {
  const { rows, columns, length, values } = answer.evidence, pen = evidence.getContext("2d");
  const side = evidence.width / columns, highest = Math.max(...values.map(Math.abs));
  const parts = Array.from({ length: rows * columns }, (_, token) => values[token * length + chosen]);
  const signed = value => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(1);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(shown, 0, 0, evidence.width, evidence.height);
  pen.font = "bold 32px system-ui, sans-serif";
  pen.textAlign = "center";
  parts.forEach((value, token) => {
    const left = token % columns * side, top = Math.floor(token / columns) * side;
    pen.fillStyle = `rgba(${value > 0 ? "230, 120, 0" : "0, 90, 200"}, ${0.75 * Math.abs(value) / highest})`;
    pen.fillRect(left, top, side, side);
    pen.strokeStyle = "white";
    pen.strokeRect(left, top, side, side);
    pen.lineWidth = 6;
    pen.strokeStyle = "black";
    pen.strokeText(signed(value), left + side / 2, top + side / 2 + 12);
    pen.lineWidth = 1;
    pen.fillStyle = "white";
    pen.fillText(signed(value), left + side / 2, top + side / 2 + 12);
  });
  told.textContent = `Evidence for ${classes[chosen]}, by the ${parts.length} last tokens (orange for, blue against): `
    + `${parts.map(signed).join(", ")}. Their mean is the logit, ${signed(answer.logits[chosen])}: exactly, because the `
    + "head is linear.";
  evidence.setAttribute("aria-label", told.textContent);
}

// The middle square of a picture, made small in halves so that no pixel is left out.
function take(picture, width, height) {
  const side = Math.min(width, height);
  let now = square(Math.min(side, 16 * grain)), pen = now.getContext("2d");
  pen.fillStyle = "white";  // under what is transparent
  pen.fillRect(0, 0, now.width, now.width);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, (width - side) / 2, (height - side) / 2, side, side, 0, 0, now.width, now.width);
  while (now.width >= 2 * grain) {
    const half = square(Math.floor(now.width / 2));
    half.getContext("2d").drawImage(now, 0, 0, half.width, half.width);
    now = half;
  }
  pen = small.getContext("2d", { willReadFrequently: true });
  pen.drawImage(now, 0, 0, grain, grain);
  answerIt();
}

async function receive(file) {
  problem.textContent = "";
  try {
    const picture = await createImageBitmap(file);  // turned as its EXIF says
    take(picture, picture.width, picture.height);
    samples.querySelectorAll("input").forEach(input => { input.checked = false; });
  } catch {
    problem.textContent = `${file.name} is not a picture that this browser can read; choose a JPEG, PNG or WebP file.`;
  }
}

const group = (legend, ...children) => element("fieldset", {}, element("legend", { textContent: legend }), ...children);
const samples = element("div", { className: "twx-choices" }, ...facts.samples.map(({ name, url }, i) => {
  const picture = element("img", { src: url, alt: "" });
  const choose = () => { problem.textContent = ""; picture.decode().then(() => take(picture, grain, grain)); };
  return element("label", {}, element("input", { type: "radio", name: "sample", checked: i === 0, onchange: choose }),
    element("span", { className: "twx-head" }, picture, name));
}));
const chooser = element("input", { type: "file", accept: "image/*",
  onchange: () => { if (chooser.files.length) receive(chooser.files[0]); } });
document.addEventListener("dragover", event => event.preventDefault());
document.addEventListener("drop", event => {
  event.preventDefault();
  if (event.dataTransfer.files.length) receive(event.dataTransfer.files[0]);
});

// A canvas to draw on, in one of eight colours (of Okabe and Ito, told apart by colour-blind readers too).
function drawing() {
  const paper = square(size), pen = paper.getContext("2d");
  const inks = { black: "#000000", white: "#ffffff", sky: "#56b4e9", green: "#009e73", yellow: "#f0e442", blue: "#0072b2",
    red: "#d55e00", brown: "#8a5a2b" };
  let ink = "black", last = null, waiting = false;
  const fill = () => { pen.fillStyle = inks[ink]; pen.fillRect(0, 0, size, size); later(); };
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; take(paper, size, size); });
  };
  paper.className = "live-paper";
  paper.setAttribute("role", "img");
  paper.setAttribute("aria-label", "Paper to draw on with a pointer");
  const at = event => {
    const box = paper.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * size, (event.clientY - box.top) / box.height * size];
  };
  const line = event => {
    const to = at(event);
    Object.assign(pen, { strokeStyle: inks[ink], lineWidth: Number(width.value), lineCap: "round" });
    pen.beginPath();
    pen.moveTo(...(last || to));
    pen.lineTo(...to);
    pen.stroke();
    last = to;
    later();
  };
  paper.addEventListener("pointerdown", event => { paper.setPointerCapture(event.pointerId); last = null; line(event); });
  paper.addEventListener("pointermove", event => { if (event.buttons & 1) line(event); });
  const width = element("input", { type: "range", min: 2, max: 24, value: 8 });
  const palette = element("div", { className: "twx-choices" }, ...Object.keys(inks).map(name => {
    const dot = element("span", { className: "twx-pill", textContent: name });
    dot.style.borderLeft = `1rem solid ${inks[name]}`;
    return element("label", {}, element("input", { type: "radio", name: "ink", checked: name === ink,
      onchange: () => { ink = name; } }), dot);
  }));
  pen.fillStyle = inks.white;
  pen.fillRect(0, 0, size, size);
  return element("details", {}, element("summary", { textContent: "Draw something" }), paper, palette,
    element("label", {}, "Width of the pen ", width), " ",
    element("button", { type: "button", textContent: "Fill the paper with this colour", onclick: fill }));
}

const columns = (...children) => element("div", { className: "twx" },
  element("div", { className: "twx-cols" }, ...children));
root.replaceChildren(
  columns(
    element("div", { className: "twx-left" }, group("Picture", samples),
      element("label", { className: "live-file" }, "or your own, chosen here or dropped on the page: ", chooser),
      problem, drawing()),
    element("div", { className: "twx-right" }, group("What is it?", bars), said)),
  element("h2", { textContent: "Which part of the picture speaks for a class?" }),
  columns(
    element("div", { className: "twx-left" }, evidence),
    element("div", { className: "twx-right" }, told,
      element("p", { className: "twx-quiet", textContent: "Choose another class above to see its evidence." }))),
  attention);
samples.querySelector("input").onchange();
