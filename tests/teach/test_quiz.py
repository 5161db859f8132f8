"""Each key of the exit quiz follows from code: from the library, from NumPy or SciPy, or from an experiment."""

from collections import Counter
from io import StringIO

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from scipy.signal import convolve2d

import twins_lib
from twins_lib import GSA, LSA, PEG, VARIANTS, Block, cost, segmentation
from twins_lib.maps import attention as attention_maps
from twins_lib.training import batches, config, recipe, scores
from twins_lib.teach import checkup, quiz
from twins_lib.teach.checks import lesson_05
from twins_lib.teach.experiments import bugs

PROOFS = {}
SMALL = VARIANTS["twins_svt_small"]
STRIDES = (4, 8, 16, 32)


def proves(question):
    """The function returns what is right: the value of the right choice, or its letter."""
    def keep(proof):
        PROOFS[question] = proof
        return proof
    return keep


def names(value, question):
    """The letters of the choices that this value stands for."""
    if value in set(quiz.LETTERS):
        return [value]
    return [letter for letter in quiz.LETTERS if question[letter] == value]


def ask(question):
    lesson, number = question.split(".")
    return quiz.questions(lesson)["questions"][int(number) - 1]


ALL = [f"{lesson}.{n + 1}" for lesson, part in quiz.questions().items() for n in range(len(part["questions"]))]


@pytest.mark.parametrize("question", ALL)
def test_a_key_follows_from_code(question):
    asked = ask(question)
    assert names(PROOFS[question](), asked) == [asked["key"]]


def test_every_lesson_with_checks_has_five_whole_questions():
    from twins_lib.teach.progress import exercises
    assert set(exercises()) <= set(quiz.questions())
    for part in quiz.questions().values():
        assert len(part["questions"]) == 5
        for asked in part["questions"]:
            assert set(asked) == {"ask", *quiz.LETTERS, "key", "why"}
            assert len({quiz.choice(asked[letter]) for letter in quiz.LETTERS}) == 4
        assert max(Counter(asked["key"] for asked in part["questions"]).values()) <= 2, "keys that can be guessed"


def test_a_wrong_key_is_found():
    asked = dict(ask("03.1"), key="a")
    assert names(PROOFS["03.1"](), asked) != [asked["key"]]


def test_the_sheet_hides_its_keys(capsys):
    quiz.main(["--lesson", "3"])
    plain = capsys.readouterr().out
    quiz.main(["--lesson", "3", "--keys"])
    keys = capsys.readouterr().out
    assert plain.startswith("# Exit quiz · lesson 03, Locally-grouped attention") and plain.count("- d)") == 5
    for asked in quiz.questions("03")["questions"]:
        assert asked["why"] not in plain and asked["why"] in keys
    assert "- d) 64" in plain and "**d.** N / w²" in keys


def test_a_lesson_without_a_quiz_is_named(capsys):
    with pytest.raises(SystemExit):
        quiz.main(["--lesson", "77"])
    assert "77" in capsys.readouterr().err


def same(text):
    """A text as a parser gives it back: without its marks for code and in one kind of spaces."""
    return " ".join(text.replace("`", "").split())


def test_moodle_s_format_gives_back_every_question_and_key():
    from pygiftparser.parser import parseFile
    from pygiftparser.utils import reSpecialChar

    def plain(text):   # the parser leaves the marks of special characters to whoever shows the text
        return reSpecialChar.sub(r"\g<char>", text)

    found = parseFile(StringIO(quiz.gift(list(quiz.questions()))))
    assert [question.title for question in found] == ALL
    for name, question in zip(ALL, found, strict=True):
        asked = ask(name)
        assert question.valid and type(question.answers).__name__ == "SelectSet"
        assert question.cat == f"Twins/{name[:2]}"
        assert question.markup == "markdown" and plain(question.text) == asked["ask"].strip()
        assert [plain(answer.answer) for answer in question.answers.answers] == [
            quiz.choice(asked[letter]) for letter in quiz.LETTERS], name
        assert [letter for letter, answer in zip(quiz.LETTERS, question.answers.answers)
                if answer.fraction == 100] == [asked["key"]]
        assert plain(question.generalFeedback) == asked["why"].strip()


def test_text2qti_reads_every_question_and_key():
    from text2qti.config import Config
    from text2qti.quiz import Quiz

    for lesson, part in quiz.questions().items():
        found = Quiz(quiz.text2qti(lesson), config=Config(), source_name=lesson).questions_and_delims
        for question, asked in zip(found, part["questions"], strict=True):
            assert question.type == "multiple_choice_question"
            assert same(question.question_raw) == same(asked["ask"])
            assert [same(choice.choice_raw) for choice in question.choices] == [
                same(quiz.choice(asked[letter])) for letter in quiz.LETTERS]
            right = [letter for letter, choice in zip(quiz.LETTERS, question.choices) if choice.correct]
            assert right == [asked["key"]]
            assert same(question.feedback_raw) == same(asked["why"])
            shown = question.question_html_xml + "".join(choice.choice_html_xml for choice in question.choices)
            assert "em&gt;" not in shown and "strong&gt;" not in shown, "stars and lines that were taken for emphasis"


def test_only_gift_holds_all_lessons(capsys):
    assert not quiz.main(["--format", "gift"]) and capsys.readouterr().out.count("$CATEGORY") == 11
    assert not quiz.main(["--format", "gift", "--lesson", "3"]) and capsys.readouterr().out.count("::03.") == 5
    with pytest.raises(SystemExit):
        quiz.main(["--format", "text2qti"])
    assert "name a lesson, such as --lesson 3" in capsys.readouterr().err


def tokens(size, dim, seed=0):
    rng = np.random.default_rng(seed)
    return Tensor(rng.normal(size=(1, size[0] * size[1], dim)), ms.float32)


def product_macs(layer, size, dim):
    """Multiply-adds of scores and of weights times values, from the sizes of q, k and v."""
    q, k, v = layer.queries_keys_values(tokens(size, dim), size)
    return q.size * k.shape[-2] + q.size * v.shape[-2]


def numbers(row):
    return ", ".join(str(int(n)) for n in row)


def parameters(cell):
    return sum(p.size for p in cell.get_parameters())


# ---------------------------------------------------------------------------------------------------------------------
# 00 Start here
# ---------------------------------------------------------------------------------------------------------------------

@proves("00.1")
def _():
    return str((2, SMALL.dims[2], 320 // STRIDES[2], 480 // STRIDES[2]))


@proves("00.2")
def _():
    model = twins_lib.create_model("twins_svt_small")
    by_stage = [parameters(blocks) for blocks in model.blocks]
    assert by_stage[3] > 0.5 * parameters(model) > parameters(model.head)
    return "b"


@proves("00.3")
def _():
    return (512 // STRIDES[0]) ** 2


@proves("00.4")
def _():
    return round(4 * cost.predict("twins_svt_small").parameters / 1e6)


@proves("00.5")
def _():
    return SMALL.dims[2] // SMALL.heads[2]


# ---------------------------------------------------------------------------------------------------------------------
# 01 Patch embedding
# ---------------------------------------------------------------------------------------------------------------------

@proves("01.1")
def _():
    image = np.arange(24).reshape(6, 4)
    assert numbers(image.reshape(6, 4)[3]) == ask("01.1")["a"]   # the misconception
    return numbers(image.reshape(3, 2, 2, 2).transpose(0, 2, 1, 3).reshape(6, 4)[3])


@proves("01.2")
def _():
    image = np.arange(16).reshape(4, 4)
    assert np.array_equal(image.reshape(4, 4), image)
    return "d"


@proves("01.3")
def _():
    conv = nn.Conv2d(3, 64, 4, stride=4)
    assert conv(Tensor(np.zeros((1, 3, 30, 30)), ms.float32)).shape == (1, 64, 8, 8)
    return "a"


@proves("01.4")
def _():
    return parameters(twins_lib.PatchEmbed(3, 64, 4))


@proves("01.5")
def _():
    rng = np.random.default_rng(0)
    patch = rng.normal(size=48)
    comes_back = {}
    for length in (32, 48, 64):
        W = rng.normal(size=(length, 48))
        assert np.linalg.matrix_rank(W) == min(length, 48) and not np.allclose(W @ W.T, np.eye(length))
        comes_back[length] = np.allclose(np.linalg.lstsq(W, W @ patch, rcond=None)[0], patch)
    assert comes_back == {32: False, 48: True, 64: True}
    return "b"


# ---------------------------------------------------------------------------------------------------------------------
# 02 Conditional positional encoding
# ---------------------------------------------------------------------------------------------------------------------

@proves("02.1")
def _():
    layer, x = GSA(8, 2, 1), tokens((3, 4), 8)
    for p in layer.get_parameters():   # larger weights than fresh ones, so that tokens come out different
        p.set_data(Tensor(np.random.default_rng(2).normal(0, 0.5, p.shape), ms.float32))
    order = np.random.default_rng(1).permutation(12)
    before, after = layer(x, (3, 4)).asnumpy()[0], layer(x[:, Tensor(order)], (3, 4)).asnumpy()[0]
    assert np.allclose(after, before[order], atol=1e-5) and np.abs(after - before).max() > 0.1
    return "a"


@proves("02.2")
def _():
    return int(convolve2d(np.ones((5, 6)), np.ones((3, 3)), mode="same")[0, 2])


@proves("02.3")
def _():
    return parameters(PEG(128))


@proves("02.4")
def _():
    kernel = np.random.default_rng(0).normal(size=(3, 3))
    rolled = convolve2d(np.ones((5, 6)), kernel, mode="same", boundary="wrap")
    padded = convolve2d(np.ones((5, 6)), kernel, mode="same")
    assert np.ptp(rolled) < 1e-12 < np.ptp(padded)
    return "c"


@proves("02.5")
def _():
    return (448 // 4) ** 2 - (224 // 4) ** 2


# ---------------------------------------------------------------------------------------------------------------------
# 03 Locally-grouped attention
# ---------------------------------------------------------------------------------------------------------------------

@proves("03.1")
def _():
    size = (56, 56)
    return product_macs(GSA(8, 1, 1), size, 8) // product_macs(LSA(8, 1, 7), size, 8)


@proves("03.2")
def _():
    scores = np.random.default_rng(0).normal(size=(5, 5))
    weights = np.exp(scores) / np.exp(scores).sum(axis=0)
    assert np.allclose(weights.sum(0), 1) and not np.allclose(weights.sum(1), 1)
    return "b"


@proves("03.3")
def _():
    layer = GSA(128, 4, 1)
    return str(layer.queries_keys_values(Tensor(np.zeros((2, 784, 128)), ms.float32), (28, 28))[0].shape)


@proves("03.4")
def _():
    layers, x = [LSA(8, 1, 7) for _ in range(10)], tokens((28, 28), 8)

    def ten(x):
        for layer in layers:
            x = layer(x, (28, 28))
        return x[0, 300].sum()

    return int((np.abs(ms.grad(ten)(x).asnumpy()[0]).sum(1) > 0).sum())


@proves("03.5")
def _():
    return (-(-64 // 7) * 7) ** 2 - 64 ** 2


# ---------------------------------------------------------------------------------------------------------------------
# 04 Global sub-sampled attention
# ---------------------------------------------------------------------------------------------------------------------

@proves("04.1")
def _():
    return GSA(8, 2, 4).queries_keys_values(tokens((28, 28), 8), (28, 28))[1].shape[-2]


@proves("04.2")
def _():
    size = (64, 64)
    pairs = {w: product_macs(LSA(8, 1, w), size, 8) + product_macs(GSA(8, 1, w), size, 8) for w in (4, 8, 16, 64)}
    return min(pairs, key=pairs.get)


@proves("04.3")
def _():
    return GSA(64, 2, 8).sr.weight.size


@proves("04.4")
def _():
    layers, x = [LSA(8, 2, 4) for _ in range(3)], tokens((8, 8), 8)

    def answer(x):
        for layer in layers:
            x = layer(x, (8, 8))
        return x[0, 0].sum()

    seen = np.abs(ms.grad(answer)(x).asnumpy()[0]).sum(1).reshape(8, 8)
    assert (seen[:4, :4] > 0).all() and not seen[4:].any() and not seen[:, 4:].any()
    return "d"


@proves("04.5")
def _():
    layer = GSA(64, 2, 8)
    q, k, _ = layer.queries_keys_values(tokens((56, 56), 64), (56, 56))
    return str(layer.attend.weights(q, k).shape)


# ---------------------------------------------------------------------------------------------------------------------
# 05 Building Twins
# ---------------------------------------------------------------------------------------------------------------------

@proves("05.1")
def _():
    (right,) = [letter for letter in quiz.LETTERS if lesson_05.draw_stage.judge(ask("05.1")[letter])[0] == "right"]
    return right


@proves("05.2")
def _():
    first, *_, last = [(224 // stride) ** 2 * C ** 2 for stride, C in zip(STRIDES, SMALL.dims)]
    return first // last


@proves("05.3")
def _():
    right, wrong = (twins_lib.create_model("twins_svt_nano", num_classes=10) for _ in range(2))
    state = {p.name: p for p in right.get_parameters()}
    for p in wrong.get_parameters():
        p.set_data(state[p.name])
    norm = wrong.patch_embeds[0].norm
    wrong.patch_embeds[0].norm = nn.LayerNorm(norm.normalized_shape, epsilon=1e-7)
    image = Tensor(np.random.default_rng(0).normal(size=(1, 3, 64, 64)), ms.float32)
    assert np.abs((right(image) - wrong(image)).asnumpy()).max() < 1e-3
    assert right.patch_embeds[0].norm.epsilon == 1e-5 != wrong.patch_embeds[0].norm.epsilon
    assert {(p.name, p.shape) for p in wrong.get_parameters()} == {(n, p.shape) for n, p in state.items()}
    return "b"


@proves("05.4")
def _():
    return parameters(Block(128, 4, LSA(128, 4, 7)))


@proves("05.5")
def _():
    spent = cost.predict("twins_svt_small")
    assert round(spent.macs / spent.attention_macs) == 25
    larger = cost.predict("twins_svt_small", 896, 896)
    assert round(100 * larger.attention_macs / larger.macs) == 26
    return "d"


# ---------------------------------------------------------------------------------------------------------------------
# 06 Training
# ---------------------------------------------------------------------------------------------------------------------

@proves("06.1")
def _():
    return round(float(recipe.learning_rates(1e-3)[4]), 4)


def first_step(gradient):
    weight = ms.Parameter(Tensor([1.0], ms.float32), name="p")
    optimizer = recipe.AdamW([{"params": [weight], "weight_decay": 0.0}])
    optimizer((Tensor([gradient], ms.float32),), Tensor(0.01, ms.float32))
    return round(1 - float(weight.asnumpy()[0]), 5)


@proves("06.2")
def _():
    assert first_step(0.001) == first_step(1000.0) == 0.01
    return "c"


@proves("06.3")
def _():
    scores = np.random.default_rng(0).binomial(500, 0.7, (1000, 20)) / 500   # of settings that are equally good
    assert abs(scores.mean() - 0.7) < 0.001 and scores.max(1).mean() > 0.73
    return "d"


@proves("06.4")
def _():
    rng, images = np.random.default_rng(0), np.zeros((10, 3, 8, 8), np.float32)
    targets = recipe.mixup_cutmix(images, np.arange(10), 10, rng)[1]
    floor_of_training = float(-(targets * np.log(targets)).sum(1).mean())
    floor_of_test = -float(np.log(recipe.smooth_labels(np.array([3]), 10).max()))
    assert floor_of_test < 0.1 < floor_of_training
    return "a"


@proves("06.5")
def _():
    decayed, spared = recipe.parameter_groups(twins_lib.create_model("twins_svt_nano", num_classes=10))
    assert all(p.ndim > 1 and "pos_block" not in p.name for p in decayed["params"])
    assert {p.name.rpartition(".")[2] for p in spared["params"]} == {"gamma", "beta", "bias", "weight"}
    assert all("pos_block" in p.name for p in spared["params"] if p.name.endswith("weight"))
    return "c"


# ---------------------------------------------------------------------------------------------------------------------
# 07 Attention maps
# ---------------------------------------------------------------------------------------------------------------------

@proves("07.1")
def _():
    weights = np.random.default_rng(0).random((4, 4))
    return len(np.unique(attention_maps.spread(weights.reshape(1, -1), (16, 16), 4)))


@proves("07.2")
def _():
    model = twins_lib.create_model("twins_svt_nano", num_classes=10)
    entering = list(attention_maps.block_inputs(model, Tensor(np.zeros((1, 3, 64, 64)), ms.float32)))
    assert [x[2].shape[1] for x in entering] == [256, 256, 64, 64, 16, 16, 4, 4]   # the grids, and no token more
    return "b"


@proves("07.3")
def _():
    rng = np.random.default_rng(0)
    A_lsa, A_gsa = (rows / rows.sum(1, keepdims=True) for rows in rng.random((2, 6, 6)))
    x = rng.random(6)
    after_both = A_gsa @ (A_lsa @ x)
    assert np.allclose(A_gsa @ A_lsa @ x, after_both) and not np.allclose(A_lsa @ A_gsa @ x, after_both)
    return "d"


@proves("07.4")
def _():
    return f"at least {100 * 0.9 ** 6:.0f} %"


@proves("07.5")
def _():
    model = twins_lib.create_model("twins_svt_nano", num_classes=10)
    rng = np.random.default_rng(0)
    for p in model.get_parameters():   # larger weights than fresh ones, so that a change is seen
        p.set_data(Tensor(rng.normal(0, 0.1, p.shape), p.dtype))
    image = Tensor(rng.normal(size=(1, 3, 64, 64)), ms.float32)

    def pictures():
        gradient = ms.grad(lambda x: model(x)[0, 3])(image)
        return attention_maps.attention(model, image, 0, 1).rows, attention_maps.rollout(model, image), gradient

    before = [np.asarray(picture) for picture in pictures()]
    for p in model.head.get_parameters():
        p.set_data(Tensor(rng.permutation(p.asnumpy().ravel()).reshape(p.shape)))
    after = [np.asarray(picture) for picture in pictures()]
    assert [np.allclose(a, b, atol=1e-7) for a, b in zip(before, after)] == [True, True, False]
    return "c"


# ---------------------------------------------------------------------------------------------------------------------
# 08 Bug lab
# ---------------------------------------------------------------------------------------------------------------------

class WidthFirst(GSA):
    def queries_keys_values(self, tokens, size):
        return super().queries_keys_values(tokens, size[::-1])


@proves("08.1")
def _():
    right, wrong = GSA(8, 2, 2), WidthFirst(8, 2, 2)
    state = {p.name: p for p in right.get_parameters()}
    rng = np.random.default_rng(0)
    for p in right.get_parameters():
        p.set_data(Tensor(rng.normal(0, 0.5, p.shape), ms.float32))
    for p in wrong.get_parameters():
        p.set_data(state[p.name])
    for size, same in (((4, 4), True), ((4, 6), False)):
        x = tokens(size, 8)
        assert np.array_equal(right(x, size).asnumpy(), wrong(x, size).asnumpy()) == same
    return "c"


@proves("08.2")
def _():
    size, token = (16, 16), 9 * 16 + 6   # inside its window of 4×4, rows 8 to 11, columns 4 to 7
    block, peg, x = Block(16, 4, LSA(16, 2, 4)), PEG(16), tokens((16, 16), 16)
    changed = x.asnumpy().copy()
    changed[0, token] += np.arange(16)
    before, after = (peg(block(part, size), size).asnumpy() for part in (x, Tensor(changed)))
    return int((np.abs(after - before).sum(-1) > 0).sum())


@proves("08.3")
def _():
    model = twins_lib.create_model("twins_svt_nano", num_classes=10, drop_path_rate=0.5)
    image, rng = Tensor(np.random.default_rng(0).normal(size=(1, 3, 64, 64)), ms.float32), np.random.default_rng(0)
    dropping = [model(image, model.draw_paths(1, rng)).asnumpy() for _ in range(2)]
    assert not np.array_equal(*dropping)
    assert np.array_equal(model(image).asnumpy(), model(image).asnumpy())
    return "d"


@proves("08.4")
def _():
    def never_fires(model):
        return True

    right = twins_lib.create_model("twins_svt_nano")
    assert never_fires(right) and checkup.shares(right)[0]   # here the two cannot be told apart
    broken = bugs.plant(right, "shares")
    assert never_fires(broken) and not checkup.shares(broken)[0]
    return "a"


@proves("08.5")
def _():
    scores = np.random.default_rng(0).normal(size=(6, 6))
    keys, queries = (np.exp(scores) / np.exp(scores).sum(axis, keepdims=True) for axis in (1, 0))
    assert keys.shape == queries.shape
    assert np.allclose(keys.sum(1), 1) and not np.allclose(queries.sum(1), 1)
    return "c"


# ---------------------------------------------------------------------------------------------------------------------
# 09 Dense prediction
# ---------------------------------------------------------------------------------------------------------------------

@proves("09.1")
def _():
    truth, predicted = np.array([[1, 1, 1, 1, 0, 0, 0, 0]]), np.array([[1, 1, 1, 0, 1, 1, 0, 0]])
    return float(scores.iou(scores.confusion(predicted, truth, 2))[1])


@proves("09.2")
def _():
    truth, predicted = np.array([[0, 0, 1, 1]]), np.array([[0, 0, 1, 0]])
    two, three = (scores.iou(scores.confusion(predicted, truth, classes)) for classes in (2, 3))
    assert np.isnan(three[2]) and np.nanmean(three) == np.nanmean(two)
    return "d"


@proves("09.3")
def _():
    model = twins_lib.create_model("twins_svt_nano", num_classes=10)
    head = segmentation.SemanticFPNHead(VARIANTS["twins_svt_nano"].dims, 3, channels=8, head_channels=4)
    logits = head(model.features(Tensor(np.zeros((1, 3, 256, 128)), ms.float32)))
    return logits.shape[2] * logits.shape[3]


@proves("09.4")
def _():
    small, large = (cost.predict("twins_pcpvt_small", side, side).attention_macs for side in (224, 448))
    return large // small


@proves("09.5")
def _():
    size, lsa = (4, 5), LSA(8, 2, 4, mask_padding=True)
    x = tokens(size, 8)
    q, k, _ = lsa.queries_keys_values(x, size)
    masked, unmasked = (lsa.attend.weights(q, k, bias).asnumpy() for bias in (lsa.padding_bias(x, size), None))

    def on_pads(weights):   # window 1 has one real column and three of pads
        return weights.reshape(2, 2, 16, 4, 4)[1, ..., 1:].sum((-1, -2))

    assert on_pads(masked).max() == 0 and on_pads(unmasked).min() > 0.5
    return "c"


# ---------------------------------------------------------------------------------------------------------------------
# 10 ImageNet and Ascend
# ---------------------------------------------------------------------------------------------------------------------

@proves("10.1")
def _():
    official = config.load_config("twins_svt_small")
    assert official.peak_lr == 5e-4 * 2048 / 512   # the rule, on a value of the official logs
    return 5e-4 * 16 * 64 / 512


@proves("10.2")
def _():
    return 1_281_167 // 1024


@proves("10.3")
def _():
    in_order = [batches.keyed(0, 1, image).random() for image in range(5)]
    after_a_kill = [batches.keyed(0, 1, image).random() for image in (3, 4)]
    assert in_order[3:] == after_a_kill and len(set(in_order)) == 5
    return "b"


@proves("10.4")
def _():
    gradients = np.random.default_rng(0).normal(size=(32, 500)).astype(np.float32)
    whole = gradients.mean(0)
    shared = (gradients[::2].mean(0) + gradients[1::2].mean(0)) / 2
    assert 0 < np.abs(whole - shared).max() < 1e-6
    return "c"


@proves("10.5")
def _():
    mean = (np.array([10, 0]) + np.array([0, 1])) / 2
    (clipped,) = recipe.clip_by_global_norm((Tensor(mean, ms.float32),), 5.0)
    return str(tuple(round(float(x), 2) for x in clipped.asnumpy()))
