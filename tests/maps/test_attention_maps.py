"""The attention maps against loops written apart from them, against the layers' outputs and against gradients."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

import twins_lib
from golden import seeded
from twins_lib.maps import figures as figures
from twins_lib.maps import attention as maps
from twins_lib.attention import from_windows, merge_heads
from twins_lib.layers import to_tokens
from twins_lib.weights import torch_name

EVEN = 64, 32  # grids of 16x8, 8x4, 4x2 and 2x1: windows of 4, 4, 4 and 2 need padding in the last two
ODD = 72, 40  # grids of 18x10, 9x5, 4x2 and 2x1: padding in all four, and tokens that are in no cell of GSA or stage


def seeded_model(name="twins_svt_nano"):
    model = twins_lib.create_model(name, num_classes=10)
    twins_lib.load_torch_state(model, seeded.weights({torch_name(p.name): p.shape for p in model.get_parameters()}))
    return model


@pytest.fixture(scope="module")
def model():
    return seeded_model()


def image(size):
    return Tensor(seeded.images(1, *size))


def linear(layer, x):
    return x @ layer.weight.asnumpy().astype(np.float64).T + layer.bias.asnumpy()


def softmax(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


def lsa_by_loops(layer, tokens, size):
    """Weights (h, N, N), the padding's share (h, N) and the layer's output (N, C), token by token, in float64."""
    (H, W), w, h, (N, C) = size, layer.window, layer.heads, tokens.shape
    d = C // h
    weights, padding, mixed = np.zeros((h, N, N)), np.zeros((h, N)), np.zeros((N, C))
    for i in range(H):
        for j in range(W):
            top, left = i // w * w, j // w * w
            places = [(y, x) for y in range(top, top + w) for x in range(left, left + w)]
            window = np.array([tokens[y * W + x] if y < H and x < W else np.zeros(C) for y, x in places])
            qkv, q_own = linear(layer.qkv, window), linear(layer.qkv, tokens[i * W + j])
            for head in range(h):
                part = slice(head * d, (head + 1) * d)
                k, v = qkv[:, C:2 * C][:, part], qkv[:, 2 * C:][:, part]
                p = softmax(k @ q_own[:C][part] / np.sqrt(d))
                mixed[i * W + j, part] = p @ v
                for share, (y, x) in zip(p, places):
                    if y < H and x < W:
                        weights[head, i * W + j, y * W + x] = share
                    else:
                        padding[head, i * W + j] += share
    return weights, padding, linear(layer.proj, mixed)


def gsa_by_loops(layer, tokens, size):
    """Weights (h, N, M), each key's tokens as sets, and the layer's output (N, C), in float64."""
    (H, W), r, h, (N, C) = size, layer.sr_ratio, layer.heads, tokens.shape
    d = C // h
    summaries, cells = [], []
    for i in range(H // r):
        for j in range(W // r):
            places = [(y, x) for y in range(i * r, i * r + r) for x in range(j * r, j * r + r)]
            cells.append({y * W + x for y, x in places})
            if r == 1:
                summaries.append(tokens[i * W + j])
                continue
            kernel = layer.sr.weight.asnumpy().astype(np.float64)
            s = sum(kernel[:, :, y - i * r, x - j * r] @ tokens[y * W + x] for y, x in places) + layer.sr.bias.asnumpy()
            s = (s - s.mean()) / np.sqrt(s.var() + 1e-5)
            summaries.append(s * layer.norm.gamma.asnumpy() + layer.norm.beta.asnumpy())
    kv = linear(layer.kv, np.array(summaries))
    weights, mixed = np.zeros((h, N, len(cells))), np.zeros((N, C))
    for n in range(N):
        q = linear(layer.q, tokens[n])
        for head in range(h):
            part = slice(head * d, (head + 1) * d)
            weights[head, n] = softmax(kv[:, :C][:, part] @ q[part] / np.sqrt(d))
            mixed[n, part] = weights[head, n] @ kv[:, C:][:, part]
    return weights, cells, linear(layer.proj, mixed)


@pytest.mark.parametrize("size", [EVEN, ODD])
def test_maps_equal_the_loops(model, size):
    for (stage, i, tokens, grid), found in zip(maps.block_inputs(model, image(size)),
                                               maps.attention_maps(model, image(size))):
        block = model.blocks[stage][i]
        entering = block.norm1(tokens)
        x, output = entering.asnumpy()[0].astype(np.float64), block.attn(entering, grid).asnumpy()[0]
        if found.kind == "LSA":
            weights, padding, wanted = lsa_by_loops(block.attn, x, grid)
            np.testing.assert_allclose(found.padding, padding, atol=2e-6)
        else:
            weights, cells, wanted = gsa_by_loops(block.attn, x, grid)
            numbers = np.arange(grid[0] * grid[1]).reshape(grid)
            assert [set(numbers[a:b, c:d].ravel()) for a, b, c, d in found.footprints] == cells
        np.testing.assert_allclose(found.weights, weights, atol=2e-6)
        np.testing.assert_allclose(output, wanted, atol=2e-5)


@pytest.mark.parametrize("size", [EVEN, ODD])
def test_a_map_on_its_values_is_the_layers_output_to_the_last_bit(model, size):
    for (stage, i, tokens, grid), m in zip(maps.block_inputs(model, image(size)),
                                           maps.attention_maps(model, image(size))):
        layer, entering = model.blocks[stage][i].attn, model.blocks[stage][i].norm1(tokens)
        _, k, v = layer.queries_keys_values(entering, grid)
        if m.kind == "GSA":
            mixed = merge_heads(layer.attend.mix(Tensor(m.weights[None]), v))
        else:
            order = maps.window_order(grid, layer.window)
            own = layer.attend.weights(*layer.queries_keys_values(entering, grid)[:2]).asnumpy()
            for window, tokens_in_it in enumerate(order):  # put the N×N matrix back into the windows
                rows, columns = np.ix_(np.flatnonzero(tokens_in_it >= 0), np.flatnonzero(tokens_in_it >= 0))
                real = tokens_in_it[tokens_in_it >= 0]
                np.testing.assert_array_equal(own[window][:, rows, columns], m.weights[:, real[:, None], real])
                own[window][:, rows, columns] = m.weights[:, real[:, None], real]
            mixed = from_windows(merge_heads(layer.attend.mix(Tensor(own), v)), grid, layer.window)
        np.testing.assert_array_equal(layer.proj(mixed).asnumpy(), layer(entering, grid).asnumpy())


@pytest.mark.parametrize("name", ["twins_svt_nano", "twins_pcpvt_nano"])
@pytest.mark.parametrize("size", [EVEN, ODD])
def test_rows_sum_to_one_with_their_padding(name, size):
    padded = 0
    for m in maps.attention_maps(seeded_model(name), image(size)):
        assert m.weights.shape == (m.rows.shape[0], m.size[0] * m.size[1], m.num_keys)
        np.testing.assert_allclose(m.rows.sum(-1), 1, atol=1e-6)
        np.testing.assert_allclose(m.weights.sum(-1) + m.padding, 1, atol=1e-6)
        query = m.size[0] * m.size[1] - 1
        np.testing.assert_allclose(m.on_grid(query).sum((1, 2)) + m.padding[:, query], 1, atol=1e-6)
        padded += (m.padding > 0).any()
    assert padded == (0 if name == "twins_pcpvt_nano" else {EVEN: 2, ODD: 4}[size])


@pytest.mark.parametrize("block", [(0, 0), (0, 1), (2, 0), (2, 1)])
def test_asked_rows_are_the_same_rows(model, block):
    whole = maps.attention(model, image(ODD), *block)
    some = maps.attention(model, image(ODD), *block, queries=[5, 0, 3])
    assert some.rows.shape[1] == 3 and list(some.queries) == [5, 0, 3]
    np.testing.assert_allclose(some.weights, whole.weights[:, [5, 0, 3]], atol=1e-6)
    np.testing.assert_allclose(some.on_grid(0), whole.on_grid(0), atol=1e-6)


@pytest.mark.parametrize("name", ["twins_svt_nano", "twins_pcpvt_nano"])
def test_graph_mode_gives_the_same_maps(name):
    model = seeded_model(name)  # the first block only, LSA or GSA: compiling is slow
    eager = maps.attention(model, image(ODD), 0, 0)
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        compiled = maps.attention(model, image(ODD), 0, 0)
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE)
    assert compiled.size == eager.size == (18, 10)
    np.testing.assert_allclose(compiled.rows, eager.rows, atol=1e-6)
    np.testing.assert_array_equal(compiled.keys, eager.keys)


def test_nothing_stays_on_the_model(model):
    def state():
        return {name: set(vars(cell)) for name, cell in model.cells_and_names()}

    logits, before = model(image(EVEN)).asnumpy(), state()
    list(maps.attention_maps(model, image(EVEN)))
    maps.rollout(model, image(EVEN), queries=[0])
    assert state() == before
    np.testing.assert_array_equal(model(image(EVEN)).asnumpy(), logits)


def token_matrix(m):
    """A map as the full N×N matrix of its mean head, every key's weight spread over its tokens by hand."""
    N, mean = m.size[0] * m.size[1], m.weights.mean(0).astype(np.float64)
    members = np.zeros((m.num_keys, N))
    for key, (top, bottom, left, right) in enumerate(m.footprints):
        for i in range(top, bottom):
            for j in range(left, right):
                members[key, i * m.size[1] + j] = 1 / ((bottom - top) * (right - left))
    return mean @ members


@pytest.mark.parametrize("size", [EVEN, ODD])
def test_composition_and_rollout_equal_the_product_of_full_matrices(model, size):
    all_maps = list(maps.attention_maps(model, image(size)))
    lsa, gsa = all_maps[:2]
    np.testing.assert_allclose(maps.compose([lsa, gsa]), token_matrix(gsa) @ token_matrix(lsa), atol=1e-6)

    wanted = np.eye(lsa.size[0] * lsa.size[1])
    for m in all_maps:
        if m.block == 0 and m.stage > 0:  # each token of a stage covers 2×2 of the one below
            (H, W), below = m.size, all_maps[2 * m.stage - 1].size
            down = np.zeros((H * W, below[0] * below[1]))
            for i, j, y, x in np.ndindex(H, W, 2, 2):
                down[i * W + j, (2 * i + y) * below[1] + 2 * j + x] = 0.25
            wanted = down @ wanted
        wanted = (0.5 * np.eye(len(wanted)) + 0.5 * token_matrix(m)) @ wanted
    found = maps.rollout(model, image(size))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(maps.rollout(model, image(size), stage=3, queries=[1]), wanted[[1]], atol=1e-6)


def test_composed_rows_sum_to_one_unless_windows_are_padded(model):
    stage_one = [(0, 0), (0, 1)]
    np.testing.assert_allclose(maps.compose(maps.attention_maps(model, image(EVEN), stage_one)).sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(maps.rollout(seeded_model("twins_pcpvt_nano"), image(ODD)).sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(maps.rollout(model, image((64, 64))).sum(1), 1, atol=1e-5)
    assert maps.rollout(model, image(ODD)).sum(1).max() < 0.99


def window_of(query, size, side):
    row, column = np.indices(size) // side
    return ((row == query // size[1] // side) & (column == query % size[1] // side)).ravel()


def test_reach_of_lsa_gsa_and_peg(model):
    size, query = (8, 8), 27  # row 3, column 3: the corner of its window
    tokens = Tensor(seeded.images(1, 64, 16)[:, 0])
    lsa, gsa, peg = model.blocks[0][0], model.blocks[0][1], model.pos_block[0]

    inside = window_of(query, size, 4)
    reached = maps.reach(lambda t: lsa(t, size), tokens, query)
    assert (reached[inside] > 0).all() and (reached[~inside] == 0).all()
    assert (maps.reach(lambda t: gsa(t, size), tokens, query) > 0).all()

    near = np.zeros(size, bool)
    near[2:5, 2:5] = True
    np.testing.assert_array_equal(maps.reach(lambda t: peg(t, size), tokens, query) > 0, near.ravel())
    # PEG then lets a token see into the next windows, but only from the border of its own.
    for token, seen in ((27, [0, 4, 32, 36]), (25, [0, 32]), (9, [0])):
        reached = maps.reach(lambda t: peg(lsa(t, size), size), tokens, token)
        np.testing.assert_array_equal(reached > 0, np.any([window_of(w, size, 4) for w in seen], 0))


def test_reach_agrees_with_the_maps(model):
    """What a map gives weight to is what the gradient reaches, and nothing else."""
    x = image((64, 64))
    for (stage, i, tokens, size), m in zip(maps.block_inputs(model, x), maps.attention_maps(model, x)):
        if stage < 2:
            block = model.blocks[stage][i]
            reached = maps.reach(lambda t, block=block, size=size: block(t, size), tokens, 9)
            np.testing.assert_array_equal(reached.reshape(size) > 0, m.on_grid(9).mean(0) > 0)


def test_reach_measures_the_jacobian():
    """Of a known linear map the size of the Jacobian is known, and so is the error of the estimate."""
    matrix = Tensor(np.random.default_rng(0).standard_normal((6, 6), np.float32))
    scale = np.arange(5, dtype=np.float32)
    scales = Tensor(scale.reshape(1, 5, 1))
    found = maps.reach(lambda t: (t * scales).sum(1, keepdims=True) @ matrix, Tensor(np.ones((1, 5, 6), np.float32)), 0,
                       probes=200)
    np.testing.assert_allclose(found, scale * np.linalg.norm(matrix.asnumpy()), rtol=0.15)


def test_reach_in_the_image(model):
    reached = maps.reach(lambda x: to_tokens(model.features(x)[0]), image((64, 64)), 0, probes=1)
    assert reached.shape == (64, 64) and (reached > 0).all()


def test_entropy_and_distance_of_known_rows():
    rows = np.array([[[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0, 0.5, 0, 0.5]]], np.float32)
    keys = np.array([[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, maps.PADDING, maps.PADDING]])
    m = maps.AttentionMap(0, 0, "LSA", (2, 2), 4, 2, np.array([3, 0, 0]), rows, keys)
    np.testing.assert_allclose(np.exp(maps.entropy(m)), [[1, 4, 2]], rtol=1e-6)
    np.testing.assert_allclose(maps.mean_distance(m), [[4 * 2**0.5, 4 * (2 + 2**0.5) / 4, 4]], rtol=1e-6)
    all_on_the_right = np.array([[[0, 1]]], np.float32)
    gsa = maps.AttentionMap(0, 1, "GSA", (2, 4), 4, 2, np.array([0]), all_on_the_right, np.array([[0, 1]]))
    np.testing.assert_allclose(maps.mean_distance(gsa), [[4 * np.hypot(0.5, 2.5)]])


@pytest.mark.parametrize("arguments, message", [
    ((4, 0), "stage 4 does not exist: this network has stages 0 to 3"),
    ((1, 2), "block 2 of stage 1 does not exist: the stage has blocks 0 to 1"),
    ((0, 0, [256]), "query 256 does not exist: the grid of 16x16 has tokens 0 to 255"),
])
def test_what_does_not_exist_is_named(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        maps.attention(model, image((64, 64)), *arguments)


def test_wrong_images_and_maps_are_told(model):
    with pytest.raises(ValueError, match="image 66x64: height must be a multiple of 4"):
        maps.attention(model, Tensor(seeded.images(1, 66, 64)), 0, 0)
    with pytest.raises(ValueError, match="a batch of 2 images"):
        maps.attention(model, Tensor(seeded.images(2, 64, 64)), 0, 0)
    part = maps.attention(model, image((64, 64)), 0, 0, [1])
    with pytest.raises(ValueError, match="no row for it"):
        part.on_grid(2)
    with pytest.raises(ValueError, match="rows for 1 of 256 tokens"):
        maps.compose([part])
    with pytest.raises(ValueError, match="no attention map"):
        maps.compose([])
    with pytest.raises(ValueError, match="no block asked for"):
        list(maps.attention_maps(model, image((64, 64)), []))


@pytest.mark.parametrize("name", ["twins_svt_nano", "twins_pcpvt_nano"])
def test_figures_tell_what_they_show(name, tmp_path):
    x = image((64, 32))
    picture = figures.as_picture(x)
    assert picture.shape == (64, 32, 3) and picture.min() == 0 and picture.max() == 255
    found = list(maps.attention_maps(seeded_model(name), x))
    first, second = found[:2]
    drawn = {figures.heads_figure(found[2], picture, [0, 30]): "window" if name == "twins_svt_nano" else "keys",
             figures.stages_figure(found, picture, (30, 20)): "GSA spans the image",
             figures.depth_figure(found): f"of {len(found)} blocks use over 90% of their keys"}
    if name == "twins_svt_nano":
        drawn[figures.pair_figure(first, second, picture, 17)] = "LSA sees 16 of 128 tokens"
    for figure, finding in drawn.items():
        assert finding in figure.get_suptitle()
        figure.savefig(tmp_path / "figure.png", dpi=40)


def test_figures_count_as_the_lessons_do():
    x = image((64, 32))
    found, picture = list(maps.attention_maps(seeded_model("twins_svt_nano"), x)), figures.as_picture(x)
    panels = figures.heads_figure(found[2], picture, [0, 5]).axes   # a grid of 8×4 tokens, two heads
    assert [axes.get_title().split(":")[0] for axes in panels] == ["head 0", "head 1"] * 2
    assert [axes.get_ylabel() for axes in panels[::2]] == ["query: row 0,\ncolumn 0", "query: row 1,\ncolumn 1"]
    rows = figures.stages_figure(found, picture, (0, 0)).axes
    assert rows[0].get_title().startswith("1.1 (LSA)") and rows[0].get_ylabel().startswith("Stage 1")


def test_overlay_colours_the_highest_brightest():
    grid = np.array([[0, 1], [0.5, 0.25]])
    shown = figures.overlay(np.full((8, 8, 3), 100, np.uint8), grid).astype(int).sum(2)
    assert (shown[:4, :4] == 180).all()  # weight 0: the picture, dimmed to 0.6
    assert shown[0, 4] > shown[4, 0] > shown[4, 4]
