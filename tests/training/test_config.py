"""Settings: every fault is one sentence with its place and the way out; what is right arrives unchanged."""

import pytest

from twins_lib import VARIANTS
from twins_lib.training.config import as_yaml, changes, load_config, SHIPPED
from twins_lib.training.errors import ConfigError

GOOD = """\
model: twins_svt_nano
data: images
output: runs/x
eps: 1e-8
peak_lr: 1
augmentation:
  mixup: 0
  crop_scale: [0.5, 1]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(GOOD)
    return path


def test_values_arrive_in_their_types(file):
    config = load_config(file)
    assert (config.eps, config.peak_lr, config.epochs) == (1e-8, 1.0, 300)
    assert isinstance(config.peak_lr, float)
    assert config.augmentation.crop_scale == (0.5, 1.0) and config.augmentation.mixup == 0.0


def test_overrides_win(file):
    config = load_config(file, ["epochs=3", "augmentation.cutmix=0", "peak_lr=5e-4", "output=2024", "data=a=b"])
    assert (config.epochs, config.augmentation.cutmix, config.peak_lr) == (3, 0.0, 5e-4)
    assert (config.output, config.data) == ("2024", "a=b")


def test_what_is_saved_reads_back_to_the_same(file, tmp_path):
    config = load_config(file, ["seed=7"])
    (tmp_path / "saved.yaml").write_text(as_yaml(config))
    assert load_config(tmp_path / "saved.yaml") == config
    assert changes(config, load_config(file, ["seed=9", "augmentation.mixup=0.2"])) == {
        "seed": (7, 9), "augmentation.mixup": (0.0, 0.2)}


@pytest.mark.parametrize("line, says", [
    ("epoch: 3", "line 9: unknown key 'epoch'; did you mean 'epochs'?"),
    ("cutmix: 0", "line 9: unknown key 'cutmix'; did you mean 'augmentation.cutmix'?"),
    ("epochs: 3.5", "line 9: epochs is '3.5'; must be a whole number"),
    ("epochs: many", "line 9: epochs is 'many'; must be a whole number"),
    ("epochs: [3]", "line 9: epochs is 'this list'; must be a whole number"),
    ("epochs:", "line 9: epochs is ''; must be a whole number"),
    ("epochs: 0", "line 9: epochs is 0; must be at least 1"),
    ("drop_path: 1", "line 9: drop_path is 1.0; must be at least 0 and below 1"),
    ("min_lr: .nan", "line 9: min_lr is '.nan'; must be a number"),
    ("min_lr: nan", "line 9: min_lr is 'nan'; must be a number"),
    ("image_size: 225", "line 9: image_size is 225; must be a multiple of 4"),
    ("device: ascend", "line 9: device is 'ascend'; must be one of CPU, Ascend; did you mean 'Ascend'?"),
    ("data: other", "line 9: data is given twice; remove one"),
    ("ema: 1", "line 9: ema is 1.0; must be at least 0 and below 1"),
    ("seed: 4294967296", "line 9: seed is 4294967296; must be 0 to 4294967295"),
    ("  erasing: 7", "line 9: augmentation.erasing is 7.0; must be at least 0 and at most 1"),
    ("  randaugment: rand-9", "line 9: augmentation.randaugment is 'rand-9'; must look like \"rand-m9-mstd0.5-inc1\""),
    ("epochs: 'a\n", "not YAML"),
])
def test_fault_in_a_file(file, line, says):
    file.write_text(GOOD + line + "\n")
    with pytest.raises(ConfigError) as fault:
        load_config(file)
    assert str(file) in str(fault.value) and says in str(fault.value) and "\n" not in str(fault.value)


@pytest.mark.parametrize("word, says", [
    ("epochs", "'epochs' on the command line: must be key=value"),
    ("epohcs=3", "'epohcs=3' on the command line: unknown key 'epohcs'; did you mean 'epochs'?"),
    ("model=twins_svt_smal", "did you mean 'twins_svt_small'?"),
    ("augmentation.randaugment=rand-m9", "must look like \"rand-m9-mstd0.5-inc1\""),
    ("augmentation.crop_scale=0.5", "augmentation.crop_scale is '0.5'; must be a list of two numbers"),
    ("augmentation.mixup=-1", "on the command line: augmentation.mixup is -1.0; must be at least 0"),
    ("augmentation.cutmix=-0.1", "augmentation.cutmix is -0.1; must be at least 0"),
    ("augmentation.smoothing=1", "augmentation.smoothing is 1.0; must be at least 0 and below 1"),
    ("augmentation.smoothing=2", "augmentation.smoothing is 2.0; must be"),
    ("augmentation.flip=3", "augmentation.flip is 3.0; must be at least 0 and at most 1"),
    ("augmentation.mix_prob=-1", "augmentation.mix_prob is -1.0; must be"),
    ("augmentation.switch_prob=1.5", "augmentation.switch_prob is 1.5; must be"),
    ("augmentation.crop_ratio=[-1, 1]", "augmentation.crop_ratio is [-1.0, 1.0]; must be [least, greatest]"),
    ("augmentation.crop_scale=[1, 0.1]", "is [1.0, 0.1]; must be [least, greatest], both above 0, at most 1"),
    ("augmentation.crop_scale=[0, 0]", "augmentation.crop_scale is [0.0, 0.0]; must be"),
    ("augmentation.crop_scale=[0.5, 2]", "augmentation.crop_scale is [0.5, 2.0]; must be"),
    ("augmentation.crop_scale=[0.5]", "augmentation.crop_scale is '[0.5]'; must be a list of two numbers"),
    ("augmentation=0", "unknown key 'augmentation'"),
])
def test_fault_on_the_command_line(file, word, says):
    with pytest.raises(ConfigError) as fault:
        load_config(file, [word])
    assert says in str(fault.value)


@pytest.mark.parametrize("word, says", [
    ("augmentation.scale=[2, 1]", "augmentation.scale is [2.0, 1.0]; must be [least, greatest], both above 0, the"),
    ("augmentation.scale=[0, 1]", "augmentation.scale is [0.0, 1.0]; must be"),
    ("augmentation.flip=-1", "augmentation.flip is -1.0; must be at least 0 and at most 1"),
    ("ema=-1", "ema is -1.0; must be at least 0 and below 1"),
])
def test_fault_of_segmentation_on_the_command_line(word, says):
    with pytest.raises(ConfigError) as fault:
        load_config("segmentation_mini", [word])
    assert says in str(fault.value) and repr(word) in str(fault.value)


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "a.yaml").write_bytes(bytes(range(128, 200)))
    with pytest.raises(ConfigError, match="a.yaml: not a text file"):
        load_config(tmp_path / "a.yaml")


def test_missing_things_are_named(file):
    file.write_text("model: twins_svt_nano\noutput: x\n")
    with pytest.raises(ConfigError, match="data is missing"):
        load_config(file)
    with pytest.raises(ConfigError, match="no such file, and none of the shipped ones: .*twins_svt_small"):
        load_config("twins_svt_huge")
    file.write_text("")
    with pytest.raises(ConfigError, match="must hold key: value lines"):
        load_config(file)


def test_batch_must_be_shared_out_in_pairs(file):
    config = load_config(file, ["batch_size=24", "accumulate=3"])
    assert config.local_batch(1) == 8 and config.local_batch(4) == 2
    with pytest.raises(ConfigError, match="batch_size 24: must be a multiple of 48"):
        config.local_batch(8)


NAMES = sorted(VARIANTS)


def test_every_network_has_a_config():
    assert sorted(file.stem for file in SHIPPED.glob("twins_*.yaml")) == NAMES
    assert all(load_config(name).model == name for name in NAMES)


# batch and peak learning rate as the released logs record or imply them; official rule: 5e-4 · batch / 512
@pytest.mark.parametrize("name, batch, peak, warmup", [
    ("twins_pcpvt_small", 1280, 1.25e-3, 5), ("twins_pcpvt_base", 1024, 1e-3, 5), ("twins_pcpvt_large", 1024, 1e-3, 5),
    ("twins_svt_small", 2048, 2e-3, 5), ("twins_svt_base", 1024, 1e-3, 5), ("twins_svt_large", 1024, 1e-3, 20)])
def test_official_values(name, batch, peak, warmup):
    config = load_config(name)
    assert (config.batch_size, config.peak_lr, config.warmup_epochs) == (batch, peak, warmup)
    assert config.peak_lr == pytest.approx(5e-4 * config.batch_size / 512)
    assert (config.epochs, config.weight_decay, config.clip_norm, config.eps, config.ema) == (300, 0.05, 5.0, 1e-8, 0)
    assert config.augmentation == type(config.augmentation)()


WORDS = ["a: b/mini", "@images", "%x", "*stars", "&x y", "!tag", "a #b", "#b", "'quoted'", '"quoted"', "null",
         "true", "010", "1e3", "[1, 2]", "{a}", "- a", "a=b", " x ", "x\t", "?", "|", ">", "`x", "a\nb", "\udce9",
         "C:\\new"]


@pytest.mark.parametrize("word", WORDS)
def test_a_text_setting_takes_its_word_literally_and_is_saved_so(file, tmp_path, word):
    config = load_config(file, [f"data={word}", f"output=runs/{word}"])
    assert (config.data, config.output) == (word, f"runs/{word}")
    (tmp_path / "saved.yaml").write_bytes(as_yaml(config).encode())
    assert load_config(tmp_path / "saved.yaml") == config


def test_a_tilde_is_the_home_and_never_a_folder(file, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    config = load_config(file, ["data=~/images", "output=~"])
    assert (config.data, config.output) == ("/home/ada/images", "/home/ada")
    file.write_text(GOOD.replace("data: images", "data: ~/images").replace("output: runs/x", "output: ./~"))
    config = load_config(file)
    assert (config.data, config.output) == ("/home/ada/images", "./~")
    for word in ("output=~no such user/x", "output=", "output=  ", "data="):
        with pytest.raises(ConfigError, match="must name a place .*~ is your home"):
            load_config(file, [word])
    file.write_text(GOOD.replace("runs/x", "~"))
    with pytest.raises(ConfigError, match="output is '~'; must be text"):
        load_config(file)
    assert load_config("segmentation_mini", ["backbone="]).backbone == ""


@pytest.mark.parametrize("encoding, likely, data", [
    ("gbk", "GBK", "图片/训练集"), ("utf-16", "UTF-16", "images"), ("utf-16-le", "UTF-16", "images"),
    ("cp1252", "CP1252", "Übung/café"), ("utf-32", "UTF-32", "images")])
def test_the_encoding_of_a_file_is_named(file, encoding, likely, data):
    file.write_bytes(GOOD.replace("images", data).encode(encoding))
    with pytest.raises(ConfigError, match=f"not UTF-8 but probably {likely}; save it as UTF-8 .iconv -f {likely} -t"):
        load_config(file)


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_file(file):
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_config(file).output == "runs/x" and load_config(file).model == "twins_svt_nano"
