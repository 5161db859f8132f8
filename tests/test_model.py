"""The whole network against timm's. The expected numbers stand in golden/twins.npz, where PyTorch wrote them."""

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

import twins_lib
from golden import seeded
from twins_lib.weights import torch_name

GOLDEN = np.load(Path(__file__).parent / "golden" / "twins.npz")
PUBLISHED = [name for name in twins_lib.VARIANTS if not name.endswith("nano")]
SMALL = ["twins_pcpvt_small", "twins_svt_small"]
LABEL = 7


def seeded_model(name):
    model = twins_lib.create_model(name)
    twins_lib.load_torch_state(model, seeded.weights({torch_name(p.name): p.shape for p in model.get_parameters()}))
    return model


def nano(**arguments):
    return twins_lib.create_model("twins_svt_nano", num_classes=10, **arguments)


@pytest.mark.parametrize("name", PUBLISHED)
def test_equals_timm(name):
    model = seeded_model(name)
    parameters = list(model.get_parameters())
    assert sum(p.size for p in parameters) == GOLDEN[f"{name}/parameters"]

    def loss(images):
        logits = model(images)
        return ops.cross_entropy(logits, Tensor([LABEL], ms.int32)), logits

    forward_backward = ms.value_and_grad(loss, None, parameters, has_aux=True)
    (_, logits), gradients = forward_backward(Tensor(seeded.images(1, 224, 224)))
    np.testing.assert_allclose(logits.asnumpy(), GOLDEN[f"{name}/logits"], rtol=0, atol=2e-5)

    wanted = dict(zip(GOLDEN[f"{name}/names"], GOLDEN[f"{name}/gradients"]))
    assert set(wanted) == {torch_name(p.name) for p in parameters}
    for parameter, gradient in zip(parameters, gradients):
        found = seeded.fingerprint(gradient.asnumpy())
        difference = seeded.relative_difference(found, wanted[torch_name(parameter.name)])
        assert difference < 1e-4, f"gradient of {parameter.name}: {difference:.1e} from the reference"


@pytest.mark.parametrize("name", SMALL)
def test_equals_timm_where_windows_need_padding(name):
    model = seeded_model(name)
    logits = model(Tensor(seeded.images(2, 256, 192)))
    np.testing.assert_allclose(logits.asnumpy(), GOLDEN[f"{name}/padded_logits"], rtol=0, atol=2e-5)

    maps = model.features(Tensor(seeded.images(1, 256, 192)))
    dims = model.variant.dims
    assert [m.shape for m in maps] == [(1, C, 256 // s, 192 // s) for C, s in zip(dims, (4, 8, 16, 32))]
    for found, wanted in zip(maps, GOLDEN[f"{name}/padded_maps"]):
        assert seeded.relative_difference(seeded.fingerprint(found.asnumpy()), wanted) < 1e-5


def test_a_small_change_of_the_network_is_seen():
    """The tolerances above are tight enough: the tanh form of GELU, the usual slip, would not pass."""
    model = seeded_model("twins_svt_small")
    images = Tensor(seeded.images(1, 224, 224))
    for _, cell in model.cells_and_names():
        if isinstance(cell, twins_lib.MLP):
            cell.gelu = nn.GELU(approximate=True)
    assert np.abs(model(images).asnumpy() - GOLDEN["twins_svt_small/logits"]).max() > 2e-4


@pytest.mark.parametrize("name", SMALL)
def test_layer_norms_have_the_official_epsilon(name):
    """An epsilon of 1e-7 instead of 1e-5 hides below the rounding of the logits, so it is read here."""
    norms = {n: cell.epsilon for n, cell in twins_lib.create_model(name).cells_and_names()
             if isinstance(cell, nn.LayerNorm)}
    for place, epsilon in norms.items():
        inner = "patch_embeds" in place or place.endswith("attn.norm")
        assert epsilon == (1e-5 if inner else 1e-6), place


def test_graph_mode_equals_pynative():
    model = nano()
    images = Tensor(seeded.images(2, 64, 96))
    compiled = ms.jit(model.construct)
    np.testing.assert_allclose(compiled(images).asnumpy(), model(images).asnumpy(), rtol=0, atol=1e-5)


def test_lsa_and_gsa_alternate_from_lsa():
    stages = twins_lib.create_model("twins_svt_small").blocks
    kinds = [[type(block.attn).__name__ for block in stage] for stage in stages]
    assert kinds == [["LSA", "GSA"] * (depth // 2) for depth in (2, 2, 10, 4)]
    kinds = {type(b.attn).__name__ for stage in twins_lib.create_model("twins_pcpvt_small").blocks for b in stage}
    assert kinds == {"GSA"}


@pytest.mark.parametrize("name", ["twins_pcpvt_nano", "twins_svt_nano"])
def test_lesson_networks_are_small(name):
    assert sum(p.size for p in twins_lib.create_model(name).get_parameters()) < 500_000


def test_fresh_weights_follow_the_official_initialisation():
    ms.set_seed(0)
    parameters = {p.name: p.asnumpy() for p in twins_lib.create_model("twins_svt_small").get_parameters()}
    for name, std in {"patch_embeds.0.proj.weight": 0.0442, "blocks.0.1.attn.sr.weight": 0.0221,
                      "pos_block.0.proj.0.weight": 0.4714, "blocks.2.0.mlp.fc1.weight": 0.02,
                      "blocks.2.0.attn.qkv.weight": 0.02, "head.weight": 0.02}.items():
        assert parameters[name].std() == pytest.approx(std, rel=0.1), name
    assert all(not values.any() for name, values in parameters.items() if name.endswith((".bias", ".beta")))


def test_draw_paths_has_mean_one_and_drops_more_with_depth():
    model = nano(drop_path_rate=0.5)
    np.testing.assert_allclose(model.drop_path_rates, np.linspace(0, 0.5, 8))
    keep = model.draw_paths(20_000, np.random.default_rng(0)).asnumpy()
    assert keep.shape == (8, 2, 20_000)
    np.testing.assert_allclose(keep.mean((1, 2)), 1, atol=0.02)
    np.testing.assert_allclose((keep == 0).mean((1, 2)), model.drop_path_rates, atol=0.01)
    assert (keep[0] == 1).all()


def test_a_dropped_branch_leaves_the_tokens_alone():
    block = nano().blocks[0][0]
    tokens = Tensor(np.random.default_rng(0).standard_normal((2, 64, 16), np.float32))
    both = block(tokens, (8, 8)).asnumpy()
    keep = Tensor(np.array([[0, 1], [0, 1]], np.float32))
    mixed = block(tokens, (8, 8), keep).asnumpy()
    np.testing.assert_array_equal(mixed[0], tokens.asnumpy()[0])
    np.testing.assert_allclose(mixed[1], both[1], atol=1e-6)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="twins_svt_tiny.*twins_pcpvt_small.*twins_svt_nano"):
        twins_lib.create_model("twins_svt_tiny")


@pytest.mark.parametrize("shape, rule", [
    ((3, 64, 64), "must have 4 axes"),
    ((1, 64, 64, 3), "64 channels: this network takes 3"),
    ((1, 3, 65, 64), "image 65x64: height must be a multiple of 4"),
    ((1, 3, 64, 66), "image 64x66: width must be a multiple of 4"),
    ((1, 3, 28, 64), "height must be at least 32"),
])
def test_images_of_a_wrong_shape_are_told_the_rule(shape, rule):
    with pytest.raises(ValueError, match=rule):
        nano()(Tensor(np.zeros(shape, np.float32)))


def test_bytes_are_told_to_become_floats():
    with pytest.raises(TypeError, match="must be floating point"):
        nano()(Tensor(np.zeros((1, 3, 64, 64), np.uint8)))


def test_an_impossible_drop_path_rate_is_refused():
    with pytest.raises(ValueError, match="drop_path_rate 1.0"):
        nano(drop_path_rate=1.0)
