"""Checks of lesson 05, building Twins. Each knows the usual wrong answers and says what probably happened."""

import numpy as np

from ..check import exercise, require

_C = 128
_LSA = 4 * _C + (4 * _C * _C + 4 * _C) + (8 * _C * _C + 5 * _C)
_GSA = _LSA + 16 * _C * _C + 3 * _C


@exercise
def block_parameters(lsa, gsa):
    """Parameters of an LSA and of a GSA block of the second stage of twins_svt_small."""
    require(lsa != _LSA - 9 * _C, "biases are learned too: 3C in qkv, C in proj, 4C and C in the MLP, 9C in all")
    require(lsa != _LSA - 4 * _C, "4C are missing: the scale and shift of two norms, or the biases of qkv and proj")
    require(lsa != _LSA - 2 * _C, "there are two norms in a block")
    require(lsa != _GSA, "an LSA block has no sub-sampling; that number belongs to the other block")
    require(lsa == _LSA, f"{lsa} in the LSA block: add 4C for norms, 4C² + 4C for attention, 8C² + 5C for the MLP")
    require(gsa != _LSA, "GSA has what LSA has, and the sub-sampling on top: a convolution and a norm")
    require(gsa != _GSA - 2 * _C, "the sub-sampling has a norm of its own")
    require(gsa not in (_GSA - _C, _GSA - 3 * _C), "the sub-sampling's convolution has a bias (and a norm follows)")
    require(gsa != _LSA + 4 * _C * _C + 3 * _C, "the kernel is r×r = 16 weights for each pair of channels, not r = 4")
    require(gsa != _LSA + 16 * _C + 3 * _C, "this convolution is not depthwise: every channel sees every channel")
    require(gsa == _GSA, f"{gsa} in the GSA block: add r²C² + C for the convolution and 2C for its norm to LSA's")


@exercise
def draw_stage(parts):
    """The parts of an SVT stage of depth 5, in order."""
    parts = str(parts).upper().replace(" ", "")
    require(set(parts) <= set("ELGP"), "use the letters E, L, G and P only")
    require(parts != "ELGLGL", "where is the position? One PEG belongs to each stage")
    require(parts.count("P") <= 1, "one PEG per stage is enough: it stands after the first block only")
    require(parts.startswith("E"), "a stage begins with its patch embedding, E")
    require(parts != "EPLGLGL", "the PEG stands after the first block, not before it")
    require(parts != "ELGLGLP", "the PEG stands after the first block, not after the last")
    require(parts != "EGPLGLG", "a stage of SVT begins with LSA")
    require(parts != "EGPGGGG", "that is PCPVT; in SVT every second block is local")
    require(parts not in ("ELPGLG", "ELPG", "ELPGL"), "depth counts blocks: five letters L or G, without the P")
    require(parts == "ELPGLGL", f"{parts}: embedding, then five blocks that alternate from L, with P after the first")


@exercise
def drop_path_rates(rates):
    """Stochastic depth over the whole network, cut into stages."""
    depths, last = (2, 2, 10, 4), 0.2
    found = [list(stage) if np.ndim(stage) else stage for stage in rates(depths, last)]
    require(all(np.ndim(stage) for stage in found), "one flat list: cut it into one list per stage")
    require([len(stage) for stage in found] == list(depths),
            f"the lists have {[len(stage) for stage in found]} rates instead of {list(depths)}, one per block")
    flat = np.concatenate(found)
    blocks = sum(depths)
    require(not np.allclose(flat, np.concatenate([np.linspace(0, last, n) for n in depths])),
            "your rate starts from 0 again in each stage; the line goes through the whole network")
    require(not np.allclose(flat, np.repeat(np.linspace(0, last, len(depths)), depths)),
            "your rate is the same for all blocks of a stage; it grows from block to block")
    require(not np.allclose(flat, np.arange(blocks) / blocks * last),
            "the last block must have the full rate: there are blocks − 1 steps between first and last")
    require(not np.allclose(flat, np.arange(1, blocks + 1) / blocks * last), "the first block is never dropped")
    require(not np.allclose(flat, np.linspace(last, 0, blocks)), "the other way round: the last block is dropped most")
    require(np.allclose(flat, np.linspace(0, last, blocks)),
            "the rates should lie on a straight line from 0 at the first block to the last rate at the last")
    require(np.allclose(np.concatenate([list(stage) for stage in rates((1, 1), 0.3)]), (0, 0.3)),
            "right for depths (2, 2, 10, 4) and last rate 0.2, wrong for (1, 1) and 0.3")


@exercise
def padded_lsa_macs(macs):
    """Multiply-adds of an LSA layer whose windows do not fill the grid."""
    H, W, C, w = 24, 40, 64, 7
    N, padded = H * W, 28 * 42
    layers, products = (int(n) for n in macs(H, W, C, w))
    require(layers not in (4 * N * C * C + 8 * N * C * C, 3 * padded * C * C + 9 * N * C * C),
            "the MLP is not part of this layer")
    require(layers != 4 * N * C * C, "the padded tokens go through qkv too: 28×42 of them, not 24×40")
    require(layers != 4 * padded * C * C, "padding is cut off before proj, so proj works on 24×40 tokens")
    require(layers != 3 * N * C * C + padded * C * C,
            "the other way round: qkv sees the padded grid, proj the real one")
    cut = 21 * 35
    require(layers not in (4 * cut * C * C, 3 * cut * C * C + N * C * C),
            "you rounded down to 21×35; padding rounds up, so that no token is lost")
    require(layers == 3 * padded * C * C + N * C * C,
            f"{layers:,} in qkv and proj: 3C² per padded token, C² per real one")
    require(products != padded * w * w * C, "two products: q with k, and the weights with v")
    require(products != 2 * N * w * w * C, "padded tokens ask as well: 28×42 queries, each with w² keys")
    require(products != 2 * padded * padded * C, "a query meets the w² keys of its own window, not all of them")
    require(products != 2 * padded * w * C, "a window has w·w keys, not w")
    require(products == 2 * padded * w * w * C, f"{products:,} in products: 2w²C per padded token")
    side = 14
    wanted = (4 * side * side * C * C, 2 * side * side * w * w * C)
    require(tuple(int(n) for n in macs(side, side, C, w)) == wanted,
            "right for 24×40; a grid of 14×14 is filled by its windows and needs no padding")


def broken_states(state):
    """Three checkpoints with a fault each, for the last exercise.

    Args:
        state (dict): a sound checkpoint of twins_svt_nano, official name to array.

    Returns:
        dict: "A", "B" and "C", each a checkpoint that is not sound.
    """
    turned = dict(state)
    turned["blocks.1.0.attn.proj.weight"] = np.ascontiguousarray(state["blocks.1.0.attn.proj.weight"].T)
    renamed = {name.replace(".weight", ".kernel"): array for name, array in state.items()}
    deeper = dict(state)
    for name in state:
        if name.startswith("blocks.2."):
            _, _, block, rest = name.split(".", 3)
            deeper[f"blocks.2.{int(block) + 2}.{rest}"] = state[name]
    return {"A": turned, "B": deeper, "C": renamed}


@exercise
def which_is_which(faults):
    """The fault of each of the three broken checkpoints."""
    words = {"network", "names", "transposed"}
    require(set(faults) == set("ABC"), "name all three: {\"A\": …, \"B\": …, \"C\": …}")
    require(set(faults.values()) == words, "each of the words \"network\", \"names\" and \"transposed\" once")
    require(faults["A"] == "transposed",
            "one of the three loads without a word, and only its logits are wrong: which fault keeps names and shapes?")
    require(faults["B"] == "network", "read the message of B again: are names missing, or are there only too many?")
