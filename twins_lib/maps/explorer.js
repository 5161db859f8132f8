// Five colours of cividis, told apart by colour-blind readers too; between them in straight lines.
const CIVIDIS = [[0, 34, 78], [66, 78, 108], [125, 124, 120], [187, 175, 113], [254, 232, 56]];
const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const digit = Object.fromEntries([...DIGITS].map((character, value) => [character, value]));
const percent = share => share > 0 && share < 0.001 ? "under 0.1%" : (100 * share).toFixed(share < 0.1 ? 1 : 0) + "%";

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function colour(share) {
  const place = Math.min(share, 1) * (CIVIDIS.length - 1), below = Math.min(Math.floor(place), CIVIDIS.length - 2);
  const mixed = CIVIDIS[below].map((c, i) => Math.round(c + (place - below) * (CIVIDIS[below + 1][i] - c)));
  return `rgba(${mixed}, ${share > 0 ? 0.3 + 0.6 * share : 0})`;
}

// A block with its weights as numbers: for each head an array of tokens × keys.
function unpacked(block) {
  const { levels, peaks, ...rest } = block;
  const maps = levels.map((characters, head) => Float32Array.from(characters, (character, i) => {
    const token = Math.floor(i / block.keys), peak = peaks[head];
    return (64 * digit[peak[2 * token]] + digit[peak[2 * token + 1]]) / 4095 * digit[character] / 63;
  }));
  return { ...rest, maps };
}

// What a query in `block` gives to each key, one head or (head -1) the mean of all.
function weights(block, head, query) {
  const from = (query.row * block.columns + query.column) * block.keys;
  const rows = (head < 0 ? block.maps : [block.maps[head]]).map(map => map.subarray(from, from + block.keys));
  return Array.from({ length: block.keys }, (_, key) => rows.reduce((sum, row) => sum + row[key], 0) / rows.length);
}

// The tokens under a key, or null where the window hangs over the border and the key is padding.
function footprint(block, query, key) {
  if (block.kind === "GSA") {
    const across = Math.floor(block.columns / block.side);
    return { top: Math.floor(key / across) * block.side, left: key % across * block.side, side: block.side };
  }
  const top = query.row - query.row % block.side + Math.floor(key / block.side);
  const left = query.column - query.column % block.side + key % block.side;
  return top < block.rows && left < block.columns ? { top, left, side: 1 } : null;
}

function place({ top, left, side }) {
  return side === 1 ? `row ${top}, column ${left}`
    : `rows ${top}–${top + side - 1}, columns ${left}–${left + side - 1}`;
}

function draw(canvas, dimmed, block, query, shares, options = {}) {
  const pen = canvas.getContext("2d"), scale = canvas.width / dimmed.width * block.stride;
  const line = canvas.width / 420, highest = Math.max(...shares);
  const outline = (top, left, height, width, style, thick) => {
    pen.strokeStyle = style;
    pen.lineWidth = thick * line;
    pen.strokeRect(left * scale, top * scale, width * scale, height * scale);
  };
  pen.imageSmoothingEnabled = dimmed.width > 160;
  pen.drawImage(options.bare ? options.picture : dimmed, 0, 0, canvas.width, canvas.height);
  shares.forEach((share, key) => {
    const at = footprint(block, query, key);
    if (!at || options.bare) return;
    pen.fillStyle = colour(share / highest);
    const left = Math.round(at.left * scale), top = Math.round(at.top * scale);
    pen.fillRect(left, top, Math.round((at.left + at.side) * scale) - left, Math.round((at.top + at.side) * scale) - top);
    if (options.detail && block.kind === "GSA" && block.side > 1)
      outline(at.top, at.left, at.side, at.side, "rgba(255, 255, 255, 0.35)", 0.8);
  });
  if (block.kind === "LSA") {
    const top = query.row - query.row % block.side, left = query.column - query.column % block.side;
    const height = Math.min(block.side, block.rows - top), width = Math.min(block.side, block.columns - left);
    if (options.detail)
      for (let r = 0; r < block.rows; r += block.side)
        for (let c = 0; c < block.columns; c += block.side)
          outline(r, c, Math.min(block.side, block.rows - r), Math.min(block.side, block.columns - c),
            "rgba(255, 255, 255, 0.25)", 0.8);
    outline(top, left, height, width, "rgba(0, 0, 0, 0.7)", 3);
    pen.setLineDash([6 * line, 4 * line]);
    outline(top, left, height, width, "white", 1.6);
    pen.setLineDash([]);
  }
  if (options.hover) outline(options.hover.top, options.hover.left, options.hover.side, options.hover.side, "#ffb3b3", 2);
  const thick = options.detail ? 1 : 2.5;
  outline(query.row, query.column, 1, 1, "black", 5 * thick);
  outline(query.row, query.column, 1, 1, "white", 2.5 * thick);
}

function explore(root, data, number) {
  root.dataset.on = "yes";
  const picture = new Image();
  picture.onload = () => start(root, { ...data, blocks: data.blocks.map(unpacked) }, picture, `${root.id}-${number}`);
  picture.src = data.picture;
}

function start(root, data, picture, id) {
  const sized = (width) => element("canvas", { width, height: Math.round(width * data.height / data.width) });
  const dimmed = sized(data.width);
  function dim() {
    const pen = dimmed.getContext("2d", { willReadFrequently: true });
    pen.drawImage(picture, 0, 0, dimmed.width, dimmed.height);
    const pixels = pen.getImageData(0, 0, dimmed.width, dimmed.height);
    for (let i = 0; i < pixels.data.length; i += 4)
      pixels.data.fill(0.6 * (0.299 * pixels.data[i] + 0.587 * pixels.data[i + 1] + 0.114 * pixels.data[i + 2]), i, i + 3);
    pen.putImageData(pixels, 0, 0);
  }

  const first = data.blocks[0];
  const state = { block: 0, head: data.head, hover: null,
    query: { row: Math.floor(first.rows / 2), column: Math.floor(first.columns / 2) } };

  const map = sized(data.width * Math.max(2, Math.ceil(840 / data.width)));
  map.className = "twx-map";
  map.tabIndex = 0;
  map.setAttribute("role", "application");
  map.setAttribute("aria-roledescription", "attention map");
  map.setAttribute("aria-label", `${data.title}. The arrow keys move the patch that looks; Home and End, Page Up and `
    + "Page Down go to the borders.");
  const lowest = element("span", { textContent: "0%" }), highest = element("span");
  const bar = element("canvas", { width: 256, height: 1 });
  bar.setAttribute("aria-hidden", "true");
  for (let x = 0; x < 256; x++) {
    const brush = bar.getContext("2d");
    for (const fill of ["rgb(75, 75, 75)", colour((x + 1) / 256)]) { brush.fillStyle = fill; brush.fillRect(x, 0, 1, 1); }
  }
  const shown = element("input", { type: "checkbox", checked: true });
  const pointer = element("p", { className: "twx-quiet", textContent: " " });
  const look = element("p", { className: "twx-look" });
  look.setAttribute("aria-live", "polite");
  const honest = element("p", { className: "twx-quiet" });
  const heads = element("div", { className: "twx-choices" });

  const radio = (name, label, checked, choose) =>
    element("label", {}, element("input", { type: "radio", name: `${id}-${name}`, checked, onchange: choose }), label);

  const blocks = element("div", { className: "twx-stages" });
  const stages = new Map();
  data.blocks.forEach((block, i) => {
    if (!stages.has(block.stage)) {
      stages.set(block.stage, element("div", { className: "twx-choices" }));
      blocks.append(element("span", { className: "twx-quiet", textContent: `Stage ${block.stage}` }), stages.get(block.stage));
    }
    const pill = element("span", { className: "twx-pill", textContent: `${block.number} · ${block.kind}` });
    const choice = radio("block", pill, i === 0, () => chooseBlock(i));
    choice.firstChild.setAttribute("aria-label", block.name);
    stages.get(block.stage).append(choice);
  });

  let thumbnails = [];
  function currentHead() {  // the head asked for, as far as this block has it
    const count = data.blocks[state.block].maps.length;
    return count === 1 ? 0 : state.head < count ? state.head : -1;
  }

  function listHeads() {
    const count = data.blocks[state.block].maps.length;
    thumbnails = (count === 1 ? [0] : [-1, ...Array(count).keys()]).map(head => ({ head, canvas: sized(160) }));
    heads.replaceChildren(...thumbnails.map(({ head, canvas }) => {
      const name = head < 0 ? "mean" : `head ${head}`;
      const label = element("span", { className: "twx-head" }, canvas, name);
      return radio("head", label, head === currentHead(), () => { state.head = head; render(); });
    }));
  }

  function chooseBlock(i) {
    const from = data.blocks[state.block], to = data.blocks[i];
    const moved = (place, count) => Math.min(count - 1, Math.floor((place + 0.5) * from.stride / to.stride));
    state.query = { row: moved(state.query.row, to.rows), column: moved(state.query.column, to.columns) };
    state.block = i;
    state.hover = null;
    listHeads();
    render();
  }

  function render() {
    const block = data.blocks[state.block], { query } = state, shares = weights(block, currentHead(), query);
    drawMap();
    for (const { head, canvas } of thumbnails) draw(canvas, dimmed, block, query, weights(block, head, query));
    highest.textContent = percent(Math.max(...shares));
    look.textContent = sentence(block, shares);
    honest.textContent = block.kind === "LSA"
      ? "LSA: exact for every token. The dashed window is all that this patch can see here."
      : block.side === 1 ? "GSA: exact for every token, each of which is a key here."
        : `GSA: exact for every key. A key is made of the ${block.side}×${block.side} tokens under one colour; `
          + "the map does not say how much each of them counts in it.";
  }

  function drawMap() {
    const block = data.blocks[state.block];
    draw(map, dimmed, block, state.query, weights(block, currentHead(), state.query),
      { detail: true, hover: state.hover, bare: !shown.checked, picture });
  }

  function sentence(block, shares) {
    const { query } = state, keys = shares.map((share, key) => ({ share, at: footprint(block, query, key) }));
    const best = keys.filter(key => key.at).sort((a, b) => b.share - a.share).slice(0, 3);
    const lost = keys.filter(key => !key.at).reduce((sum, key) => sum + key.share, 0);
    return `${block.name}, ${currentHead() < 0 ? "mean of the heads" : `head ${currentHead()}`}: the patch in `
      + `row ${query.row}, column ${query.column} of ${block.rows}×${block.columns} looks most at `
      + best.map(key => `${place(key.at)} (${percent(key.share)})`).join("; ") + "."
      + (lost ? ` ${percent(lost)} goes to the padding of its window, where there is no image.` : "");
  }

  function tokenAt(event) {
    const block = data.blocks[state.block], box = map.getBoundingClientRect();
    const count = (share, pixels, tokens) => Math.max(0, Math.min(tokens - 1, Math.floor(share * pixels / block.stride)));
    return { row: count((event.clientY - box.top) / box.height, data.height, block.rows),
      column: count((event.clientX - box.left) / box.width, data.width, block.columns) };
  }

  function point(event) {
    const block = data.blocks[state.block], { row, column } = tokenAt(event);
    const shares = weights(block, currentHead(), state.query);
    const key = shares.findIndex((_, k) => {
      const at = footprint(block, state.query, k);
      return at && row >= at.top && row < at.top + at.side && column >= at.left && column < at.left + at.side;
    });
    state.hover = key < 0 ? null : footprint(block, state.query, key);
    pointer.textContent = `Under the pointer: row ${row}, column ${column}: `
      + (key >= 0 ? percent(shares[key]) + (state.hover.side > 1 ? ` for the key over ${place(state.hover)}` : "")
        : block.kind === "LSA" ? "outside the window" : "in no key");
    drawMap();
  }

  function follow(event) {
    if (event.buttons & 1) { state.query = tokenAt(event); render(); }
    point(event);
  }

  map.addEventListener("pointerdown", event => { map.focus(); follow(event); });
  map.addEventListener("pointermove", follow);
  map.addEventListener("pointerleave", () => { state.hover = null; pointer.textContent = " "; drawMap(); });
  map.addEventListener("keydown", event => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { rows, columns } = data.blocks[state.block], { row, column } = state.query;
    const moves = { ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1], Home: [row, 0], End: [row, columns - 1], PageUp: [0, column], PageDown: [rows - 1, column] };
    const to = moves[event.key];
    if (!to) return;
    event.preventDefault();
    state.query = { row: Math.max(0, Math.min(rows - 1, to[0])), column: Math.max(0, Math.min(columns - 1, to[1])) };
    render();
  });
  shown.addEventListener("change", drawMap);
  root.addEventListener("keydown", event => {  // or JupyterLab would take arrows and letters for commands on cells
    if (!event.ctrlKey && !event.metaKey && !event.altKey && event.key !== "Enter") event.stopPropagation();
  });

  const group = (legend, choices) => element("fieldset", {}, element("legend", { textContent: legend }), choices);
  const style = root.querySelector("style");
  root.replaceChildren(style,
    element("div", { className: "twx-title", textContent: data.title }),
    element("div", { className: "twx-cols" },
      element("div", { className: "twx-left" }, map,
        element("div", { className: "twx-scale twx-quiet" }, lowest, bar, highest), pointer,
        element("label", { className: "twx-quiet" }, shown, " show attention over the picture"), look, honest),
      element("div", { className: "twx-right" },
        element("p", { className: "twx-quiet", textContent: "Click a patch, or move it with the arrow keys. "
          + "Each picture is coloured up to its own highest share of attention." }),
        group("Block", blocks), group("Head", heads))));
  const show = () => { dim(); listHeads(); render(); };
  show();
  return show;  // to be called again when the picture and the blocks have changed
}
