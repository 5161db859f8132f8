"""Checks of lesson 05, building Twins. Each knows the usual wrong answers and says what probably happened."""

import numpy as np

from ..check import exercise, require


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
