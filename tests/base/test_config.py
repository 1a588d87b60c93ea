import os
import subprocess
from pathlib import Path

import pytest

from lib.base.config import config_name, load_config
from lib.base.errors import UserError
from lib.base.settings import (
    CollectConfig,
    DataConfig,
    EvalConfig,
    FilterConfig,
    SplitConfig,
    TrainConfig,
)
from lib.train.variants import SweepConfig

CONFIGS = Path(__file__).parents[2] / "configs"
KINDS = {"data": DataConfig, "train": TrainConfig, "eval": EvalConfig, "sweep": SweepConfig}


def load(tmp_path, text, kind="train"):
    path = tmp_path / f"{kind}-x.yaml"
    path.write_text(text)
    return load_config(path, KINDS[kind])


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*-*.yaml")), ids=lambda path: path.name)
def test_every_config_that_is_shipped_is_valid(path):
    assert load_config(path, KINDS[path.name.partition("-")[0]])


def test_production_searches_pay_for_no_tweet_that_the_filter_would_drop():
    data = load_config(CONFIGS / "data-main.yaml", DataConfig)
    for query in data.collect.queries:
        words = set(query.split())
        assert {f"lang:{data.filter.language}", f"min_faves:{data.filter.tweet_likes[0]}"} <= words
        assert {"-filter:replies", "-filter:media", "-filter:links"} <= words
    topics = [query.partition(")")[0] for query in data.collect.queries]
    assert len(set(topics)) == len(topics) >= 5


def test_early_stopping_of_the_production_run_can_fire_on_the_smallest_data_set():
    data = load_config(CONFIGS / "data-main.yaml", DataConfig)
    train = load_config(CONFIGS / "train-qwen3-8b.yaml", TrainConfig)
    n_rows = data.collect.min_pairs * (1 - data.split.val - data.split.test)
    n_steps = train.epochs * n_rows / train.effective_batch
    assert n_steps >= train.evals_per_run > train.early_stopping.patience


def test_a_config_that_says_nothing_is_the_production_recipe():
    """The bounds and defaults of the classes and the YAML of the recipe say the same.

    But for what the recipe came to say later: a set or run whose config is silent on it stays what it was.
    """
    written = {
        kind: load_config(CONFIGS / f"{name}.yaml", KINDS[kind])
        for kind, name in (("data", "data-main"), ("train", "train-qwen3-8b"), ("eval", "eval-claude"))
    }
    recipe, run = written["data"], written["train"]
    assert (recipe.split.test, recipe.preferences.max_per_tweet) == (0.25, 10)
    assert (recipe.filter.filler, FilterConfig().filler) == ("reject", "review")
    collect = CollectConfig(queries=recipe.collect.queries, tweets_per_query=recipe.collect.tweets_per_query)
    split = SplitConfig(test=recipe.split.test)
    rules = FilterConfig(filler=recipe.filter.filler)
    assert DataConfig(collect=collect, filter=rules, split=split, preferences=recipe.preferences) == recipe
    later = {"evals_per_run": 7, "evals_after": 0.5, "max_evaluation_share": 0.1}
    assert TrainConfig(data="main", usd_per_hour=run.usd_per_hour, **later) == run
    assert EvalConfig() == written["eval"]
    assert written["train"].max_train_eval_gap == written["eval"].gate.max_train_eval_gap


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: main\nlora: {rnk: 8}", "lora.rnk: unknown key. Did you mean `rank`?"),
        ("data: main\nlearnig_rate: 1e-4", "learnig_rate: unknown key. Did you mean `learning_rate`?"),
        ("data: main\nlora: {rank: 0}", "lora.rank: Input should be greater than or equal to 1 (found 0)"),
        ("data: main\nlora: {dropout: 1.0}", "lora.dropout"),
        ("data: main\nepochs: two", "epochs: Input should be a valid number (found 'two')"),
        ("data: main\ndata: other", "the key 'data' is given twice"),
        ("model: tiny", "data: this key is required"),
        ("data: ${SET}", "secrets belong in .env"),
        ("data: main\nlora: {target_modules: [q_proj, '${LAYER}']}", "lora.target_modules[1]: ${...}"),
        ("data: ../../etc", "data: String should match"),
        ("data: [", "not valid YAML"),
        ("- a", "expected `key: value` lines"),
        ("data: main\nprompt: reply", "{tweet} exactly once"),
        ("data: main\nmicro_batch: 5", "5 does not divide effective_batch 16"),
        ("data: main\nmethod: dpo", "init_adapter"),
        ("data: main\nmethod: kto", "init_adapter"),
        ("data: main\nmethod: sft\ninit_adapter: other", "sft starts from the base model"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_its_key_and_the_fix(tmp_path, text, says):
    with pytest.raises(UserError) as error:
        load(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "train-x.yaml") + ":")
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("collect: {source: files}\nfilter: {reply_likes: [9, 1]}", "the lower bound comes first: [1, 9]"),
        ("collect: {source: files}\nfilter: {max_toxicity: 2}", "filter.max_toxicity"),
        ("collect: {source: apify}", "queries: at least one"),
        ("collect: {source: files}\nsplit: {val: 0.5, test: 0.5}", "must leave something to train on"),
    ],
)
def test_data_bounds_are_checked(tmp_path, text, says):
    with pytest.raises(UserError, match="data-x") as error:
        load(tmp_path, text, "data")
    assert says in str(error.value)


def test_two_bounds_may_be_one_and_epochs_a_fraction(tmp_path):
    found = load(tmp_path, "collect: {source: files}\nfilter: {reply_likes: [5, 5]}", "data")
    assert found.filter.reply_likes == [5, 5]
    assert load(tmp_path, "data: main\nepochs: 0.5").epochs == 0.5


@pytest.mark.parametrize("system", ["tuned@2", "base@10"])
def test_several_candidates_are_drawn_at_a_temperature_above_0_only(tmp_path, system):
    text = f"systems: [base, tuned, {system}]\nsampling: {{temperature: %s}}"
    assert load(tmp_path, text % 0.1, "eval").systems == ["base", "tuned", system]
    with pytest.raises(UserError, match="temperature has to be above 0"):
        load(tmp_path, text % 0, "eval")
    assert load(tmp_path, "sampling: {temperature: 0}", "eval").sampling.temperature == 0


def test_a_number_without_a_dot_in_scientific_notation_is_a_number(tmp_path):
    assert load(tmp_path, "data: main\nlearning_rate: 2e-4").learning_rate == 2e-4


def test_an_openai_engine_has_two_arms(tmp_path):
    text = (
        "engine: {openai: {base: {base_url: 'http://127.0.0.1:1/v1', model: a}, tuned: {base_url: "
        "'http://127.0.0.1:1/v1', model: b}}}"
    )
    assert load(tmp_path, text, "eval").engine.openai["tuned"].model == "b"


def test_a_run_can_extend_another_and_change_one_nested_key(tmp_path):
    (tmp_path / "train-base.yaml").write_text("data: main\nepochs: 3\nlora: {rank: 8, alpha: 32}")
    config = load(tmp_path, "extends: base\nlora: {rank: 64}")
    assert (config.data, config.epochs, config.lora.rank, config.lora.alpha) == ("main", 3, 64, 32)


def test_configs_that_extend_each_other_are_refused(tmp_path):
    (tmp_path / "train-base.yaml").write_text("extends: x\ndata: main")
    with pytest.raises(UserError, match="comes back to this file"):
        load(tmp_path, "extends: base")


def test_a_missing_config_lists_those_that_exist(tmp_path):
    (tmp_path / "train-a.yaml").write_text("data: main")
    with pytest.raises(UserError, match=r"train-b\.yaml does not exist. There are: a\."):
        load_config(tmp_path / "train-b.yaml", TrainConfig)


def test_the_name_of_a_run_cannot_leave_its_folder():
    assert config_name(Path("configs/train-qwen3-8b.yaml")) == "qwen3-8b"
    for name in (
        "train-...yaml",
        "train-.yaml",
        "train.yaml",
        "train-a b.yaml",
        "train-a;ls.yaml",
        "train-é.yaml",
    ):
        with pytest.raises(UserError, match="Rename it"):
            config_name(Path("configs") / name)


TENFOLD = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TENFOLD, ":1: not valid YAML: it holds itself, or with its aliases written out more than"),
        ("a: &a " + "x" * 100_000 + "\nb: [" + "*a, " * 50_000 + "]", "aliases written out"),
        ("data: main\nlora: &a {rank: 8, more: *a}", "it holds itself"),
        ("data: &a [*a]", "it holds itself"),
        ("data: main\nlora: {<<: {rank: 8}}", ":2: not valid YAML: << is not read here"),
        (
            "data: main\nseed: " + "1" * 5000,
            ":2: not valid YAML: the number 1111111111111111111111111111111111111111 is too large",
        ),
        ("data: main\nweight_decay: 1e999", "1e999 is too large"),
        ("data: main\nlearning_rate: 1e-999", "1e-999 is too small"),
        ("? [a]\n: b", ":1: not valid YAML: a key is one word"),
        ("1: b", "a key is one word"),
        ("data: main\nlora: {rank: 8, 'rank': 9}", ":2: not valid YAML: the key 'rank' is given twice"),
        (
            "data: !!python/object/apply:os.system [ls]",
            "the tag !!python/object/apply:os.system is not read here",
        ),
        ("data: main\nseed: !!int '0200'", "the tag !!int is not read here"),
        ("data: main\nseed: !!bool x", "the tag !!bool"),
        ("data: main\n---\ndata: other", ":2: not valid YAML: expected a single document"),
        ("data: main\nlora:\n\trank: 8", ":3: not valid YAML"),
        ("data: " + "[" * 100_000, "nested too deeply"),
        ("data: " + "{a: " * 20_000, "nested too deeply"),
        ('data: "a\\0b"', "\\u0000 is no character of a text"),
        ('model: "\\ud800"', "\\ud800 is no character of a text"),
        ('data: "\\Uffffffff"', "not valid YAML"),
        ("data: a\x07b", ":1: not valid YAML: the control character #x07"),
        ("data: " + "x" * 600_000, "longer than 500,000 bytes"),
        (b"\xff\xfed\0a\0t\0a\0", ":1: the file is UTF-16"),
        ("data: main".encode("utf-16-be"), ":1: the file is UTF-16"),
        (b"data: main\nmodel: caf\xe9", ":2: the file is not UTF-8"),
    ],
)
def test_a_file_that_hangs_or_breaks_a_yaml_reader_is_a_sentence(tmp_path, text, says):
    path = tmp_path / "train-x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as error:
        load_config(path, TrainConfig)
    assert str(error.value).startswith(str(path))
    assert says in str(error.value)


@pytest.mark.parametrize(
    "written",
    [
        "3:20",
        "0200",
        "0x10",
        "0b11",
        "1_000",
        ".inf",
        ".nan",
        "2025-13-45",
        "2025-01-31",
        "yes",
        "off",
        "1:30.5",
    ],
)
def test_what_yaml_1_1_would_turn_into_another_value_is_a_word_and_no_number(tmp_path, written):
    assert load(tmp_path, f"data: main\nmodel: {written}").model == written
    for key in ("epochs", "seed"):
        with pytest.raises(UserError, match=f"{key}: .*found '{written}'"):
            load(tmp_path, f"data: main\n{key}: {written}")


@pytest.mark.parametrize(
    ("written", "value"), [("2", 2), ("+2.5", 2.5), ("1e1", 10), (".5", 0.5), ("5.", 5), ("2.0E+0", 2)]
)
def test_a_number_is_read_as_it_is_written(tmp_path, written, value):
    assert load(tmp_path, f"data: main\nepochs: {written}").epochs == value


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffdata: main\nseed: 5",
        "data: main\rseed: 5\r",
        "data: main\r\nseed: 5\r\n",
        "data: &a main\nseed: 5\neval: *a",
    ],
)
def test_other_line_ends_a_byte_order_mark_and_a_small_alias_are_read(tmp_path, text):
    (tmp_path / "train-x.yaml").write_bytes(text.encode())
    config = load_config(tmp_path / "train-x.yaml", TrainConfig)
    assert (config.data, config.seed) == ("main", 5)


def test_hundreds_of_wrong_values_are_a_screenful(tmp_path):
    with pytest.raises(UserError) as error:
        load(tmp_path, f"data: main\nlora: {{target_modules: [{'q, ' * 300}]}}")
    assert str(error.value).count("\n") == 20
    assert str(error.value).endswith("and 280 more")


def test_what_is_no_file_is_not_opened_as_a_config(tmp_path):
    (tmp_path / "train-folder.yaml").mkdir()
    os.mkfifo(tmp_path / "train-pipe.yaml")
    (tmp_path / "train-link.yaml").symlink_to("nowhere")
    for name, says in (
        ("folder", "is not a file"),
        ("pipe", "is not a file"),
        ("link", "is a link to nothing"),
    ):
        with pytest.raises(UserError, match=rf"train-{name}\.yaml {says}"):
            load_config(tmp_path / f"train-{name}.yaml", TrainConfig)


@pytest.mark.parametrize(
    "text",
    [
        'data: "sample"\n',
        "\ufeffdata: sample\n",
        "seed: 5\rdata: 'sample'\r",
        "data : sample\r\n",
        "extends: middle\n",
        "data: sample\nextends: other\n",
    ],
)
def test_make_finds_the_data_set_that_the_config_names_however_it_is_written(tmp_path, text):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/train-x.yaml").write_bytes(text.encode())
    (tmp_path / "configs/train-middle.yaml").write_text("seed: 6\nextends: 'last'\n")
    (tmp_path / "configs/train-last.yaml").write_text("data: sample\n")
    (tmp_path / "configs/train-other.yaml").write_text("data: other\n")
    done = subprocess.run(
        ["make", "-f", CONFIGS.parent / "Makefile", "help", "RUN=x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "[DATA=sample]" in done.stdout, done.stderr
    assert load_config(tmp_path / "configs/train-x.yaml", TrainConfig).data == "sample"
