// Twins for one image, in plain JavaScript: the same names and the same order as twins_lib/model.py.
// A grid of tokens is { rows, columns, length, values }: Float32Array, token by token, each of `length` numbers.

function grid(rows, columns, length, values = new Float32Array(rows * columns * length)) {
  return { rows, columns, length, values };
}

// y = x Wᵀ + b for each of the vectors in x; W is (outputs, inputs).
function linear(x, { weight, bias }) {
  const outputs = bias.length, inputs = weight.length / outputs, count = x.length / inputs;
  const y = new Float32Array(count * outputs);
  for (let n = 0; n < count; n++)
    for (let o = 0; o < outputs; o++) {
      let sum = bias[o];
      for (let i = 0; i < inputs; i++) sum += x[n * inputs + i] * weight[o * inputs + i];
      y[n * outputs + o] = sum;
    }
  return y;
}

function layerNorm(x, { weight, bias }, epsilon) {
  const C = weight.length, y = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += C) {
    let mean = 0, variance = 0;
    for (let c = 0; c < C; c++) mean += x[start + c] / C;
    for (let c = 0; c < C; c++) variance += (x[start + c] - mean) ** 2 / C;
    const scale = 1 / Math.sqrt(variance + epsilon);
    for (let c = 0; c < C; c++) y[start + c] = (x[start + c] - mean) * scale * weight[c] + bias[c];
  }
  return y;
}

// The error function, to 1.5e-7 (Abramowitz and Stegun, formula 7.1.26).
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - series * Math.exp(-x * x));
}

const gelu = x => x.map(value => value / 2 * (1 + erf(value / Math.SQRT2)));
const plus = (x, y) => x.map((value, i) => value + y[i]);

// The patches of side × side, each as one vector in the order of a convolution's weights: channel, row, column.
function patches({ rows, columns, length, values }, side) {
  const cut = grid(Math.floor(rows / side), Math.floor(columns / side), length * side * side);
  let i = 0;
  for (let row = 0; row < cut.rows; row++)
    for (let column = 0; column < cut.columns; column++)
      for (let c = 0; c < length; c++)
        for (let r = 0; r < side; r++)
          for (let s = 0; s < side; s++)
            cut.values[i++] = values[((row * side + r) * columns + column * side + s) * length + c];
  return cut;
}

// Tokens plus a 3×3 depthwise convolution of them; beyond the border there are zeros.
function peg({ rows, columns, length, values }, { weight, bias }) {
  const y = new Float32Array(values);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      for (let c = 0; c < length; c++) {
        let sum = bias[c];
        for (let r = -1; r <= 1; r++)
          for (let s = -1; s <= 1; s++)
            if (row + r >= 0 && row + r < rows && column + s >= 0 && column + s < columns)
              sum += weight[c * 9 + (r + 1) * 3 + s + 1] * values[((row + r) * columns + column + s) * length + c];
        y[(row * columns + column) * length + c] += sum;
      }
  return grid(rows, columns, length, y);
}

// Packed vectors, cut into `parts` arrays of shorter ones: q, k and v.
function split(x, parts, length) {
  return Array.from({ length: parts }, (_, part) =>
    x.filter((_, i) => Math.floor(i / length) % parts === part));
}

// Attention of each token to the keys that `keysOf` lists for it: the mixed values, and for each head a map, an array
// of tokens × keys.
function attend(q, k, v, C, heads, keysOf) {
  const N = q.length / C, d = C / heads, keyCount = keysOf(0).length, mixed = new Float32Array(q.length), maps = [];
  for (let first = 0; first < C; first += d) {
    const map = new Float32Array(N * keyCount);
    for (let n = 0; n < N; n++) {
      const keys = keysOf(n), row = map.subarray(n * keyCount, (n + 1) * keyCount);
      keys.forEach((key, place) => {
        for (let i = first; i < first + d; i++) row[place] += q[n * C + i] * k[key * C + i] / Math.sqrt(d);
      });
      const highest = Math.max(...row), total = row.reduce((sum, score) => sum + Math.exp(score - highest), 0);
      keys.forEach((key, place) => {
        row[place] = Math.exp(row[place] - highest) / total;
        for (let i = first; i < first + d; i++) mixed[n * C + i] += row[place] * v[key * C + i];
      });
    }
    maps.push(map);
  }
  return { mixed, maps };
}

// Locally-grouped self-attention: the keys of a token are the tokens of its window.
function lsa(tokens, at, heads, side) {
  const [q, k, v] = split(linear(tokens.values, at("qkv")), 3, tokens.length);
  const offsets = Array.from({ length: side * side }, (_, i) => Math.floor(i / side) * tokens.columns + i % side);
  const corner = n => {
    const row = Math.floor(n / tokens.columns), column = n % tokens.columns;
    return (row - row % side) * tokens.columns + column - column % side;
  };
  const { mixed, maps } = attend(q, k, v, tokens.length, heads, n => offsets.map(offset => corner(n) + offset));
  return { values: linear(mixed, at("proj")), maps };
}

// Global sub-sampled attention: the keys of every token are the cells of side × side tokens.
function gsa(tokens, at, heads, side) {
  const q = linear(tokens.values, at("q"));
  const cells = side === 1 ? tokens.values : layerNorm(linear(patches(tokens, side).values, at("sr")), at("norm"), 1e-5);
  const [k, v] = split(linear(cells, at("kv")), 2, tokens.length);
  const all = Array.from({ length: k.length / tokens.length }, (_, i) => i);
  const { mixed, maps } = attend(q, k, v, tokens.length, heads, () => all);
  return { values: linear(mixed, at("proj")), maps };
}

// The whole network. `image` is a grid of pixels, prepared as in training; `weight(name)` gives { weight, bias }.
// Returns the logits, the evidence of each last token for each class, whose mean the logits are, and all maps.
function twins(image, variant, weight) {
  const blocks = [];
  let tokens = image, stride = 1;
  variant.dims.forEach((dim, stage) => {
    const heads = variant.heads[stage], side = variant.patch_sizes[stage];
    stride *= side;
    tokens = patches(tokens, side);
    const embed = name => weight(`patch_embeds.${stage}.${name}`);
    tokens = grid(tokens.rows, tokens.columns, dim, layerNorm(linear(tokens.values, embed("proj")), embed("norm"), 1e-5));
    for (let i = 0; i < variant.depths[stage]; i++) {
      const local = variant.windows !== null && i % 2 === 0, at = name => weight(`blocks.${stage}.${i}.${name}`);
      const normed = { ...tokens, values: layerNorm(tokens.values, at("norm1"), 1e-6) };
      const reach = (local ? variant.windows : variant.sr_ratios)[stage];
      const attended = (local ? lsa : gsa)(normed, name => at(`attn.${name}`), heads, reach);
      let values = plus(tokens.values, attended.values);
      const hidden = gelu(linear(layerNorm(values, at("norm2"), 1e-6), at("mlp.fc1")));
      values = plus(values, linear(hidden, at("mlp.fc2")));
      blocks.push({ stage: stage + 1, number: i + 1, kind: local ? "LSA" : "GSA", rows: tokens.rows,
        columns: tokens.columns, side: reach, stride, keys: attended.maps[0].length / (tokens.rows * tokens.columns),
        maps: attended.maps });
      tokens = { ...tokens, values };
      if (i === 0) tokens = peg(tokens, weight(`pos_block.${stage}.proj.0`));
    }
  });
  const evidence = linear(layerNorm(tokens.values, weight("norm"), 1e-6), weight("head"));
  const classes = weight("head").bias.length, count = evidence.length / classes;
  const logits = Array.from({ length: classes }, (_, c) =>
    evidence.filter((_, i) => i % classes === c).reduce((sum, share) => sum + share, 0) / count);
  return { logits, evidence: grid(tokens.rows, tokens.columns, classes, evidence), blocks };
}
