"""What a run needs, who offers it, in which order it is asked for; and what leaves for RunPod's API."""

import json
import math
from dataclasses import replace

import httpx
import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.model.shapes import KNOWN
from lib.remote.flavors import gigabytes
from lib.remote.need import need_of
from lib.remote.runpod import RunPod
from lib.remote.runpod_api import RunPodApi
from lib.remote.seam import MACHINE_NAME, Clock, Offer, cheapest_first, machine_name, same_gpu, table
from lib.train.needs import costs, gpu_needs
from tests.remote.world import NEED, ROOT, api


@pytest.mark.parametrize(
    "wanted, known, is_same",
    [
        ("A40", "NVIDIA A40", True),
        ("A40", "NVIDIA A4000", False),
        ("L40", "NVIDIA L40S", False),
        ("rtx a6000", "NVIDIA RTX A6000", True),
        ("RTX A6000", "NVIDIA RTX 6000 Ada Generation", False),
        ("A100 80GB", "NVIDIA A100 80GB PCIe", True),
        ("RTX 4090", "NVIDIA GeForce RTX 4090", True),
    ],
)
def test_a_gpu_is_known_by_its_words(wanted, known, is_same):
    assert same_gpu(wanted, known) is is_same


@pytest.mark.parametrize("run", ["qwen3-8b", "Qwen_3..8b--x", "ü" * 90, "x" * 90])
def test_a_machines_name_is_ours_and_never_twice_the_same(run):
    names = {machine_name(run) for _ in range(20)}
    assert len(names) == 20 and all(MACHINE_NAME.fullmatch(name) and len(name) < 63 for name in names)


@pytest.mark.parametrize(
    "run, slug", [("Qwen_3..8b--x", "qwen-3-8b-x"), ("ü", "run"), ("a" * 39 + "-b", "a" * 39), ("-x-", "x")]
)
def test_a_machines_name_tells_the_run(run, slug):
    assert machine_name(run)[:-9] == f"reply-train-{slug}"


def test_what_is_there_stands_first_in_the_table_with_its_best_and_cautious_dollars():
    offer = Offer("hf", "L40S", "l", 48, 1.8, "?", (10, 60))
    gone = replace(offer, gpu="A40", usd_per_hour=0.4, availability="NONE", minutes=(9.4, 20))
    head, first, second = table([gone, offer], "of today").splitlines()
    assert head.endswith("   of today")
    assert first.split() == ["hf", "L40S", "48", "1.80", "?", "10–60", "0.30–1.80"]
    assert second.split() == ["hf", "A40", "48", "0.40", "none", "9–20", "0.06–0.13"]


def test_offers_of_one_cost_are_asked_for_by_price():
    offers = [
        Offer("hf", name, name, 48, price, "?", (1, 60 / price)) for name, price in (("b", 2), ("a", 1))
    ]
    assert [offer.id for offer in cheapest_first(offers)] == ["a", "b"]
    assert [
        offer.id for offer in cheapest_first([replace(one, usd_per_hour=1, minutes=(1, 1)) for one in offers])
    ] == ["a", "b"]


def test_offers_are_asked_for_by_what_the_whole_job_costs():
    slow = Offer("runpod", "slow", "s", 48, 0.4, "HIGH", (10, 100))
    fast = Offer("runpod", "fast", "f", 48, 1.0, "LOW", (4, 20))
    gone = replace(fast, id="g", availability="NONE")
    assert cheapest_first([slow, gone, fast]) == [fast, slow]
    assert table([slow, gone, fast]).index("fast") < table([slow, gone, fast]).index("slow")


def test_nothing_that_fits_is_a_sentence():
    with pytest.raises(UserError, match="No GPU of"):
        table([])


def test_the_plan_shows_the_offers_of_both_engines_and_when_their_prices_were_read():
    config = load_config(ROOT / "configs/train-qwen3-8b.yaml", TrainConfig)
    tokens = {"train": [(60, 30)] * 800, "val": [(60, 30)] * 100}
    lines = costs(config, KNOWN[config.model], tokens).splitlines()
    assert "prices of 2026-" in lines[0] and "nobody was asked" in lines[0]
    marked = [line.split()[1:3] for line in lines if line.startswith("* ")]
    assert marked == [["runpod", "A40"], ["runpod", "RTX"], ["runpod", "L40S"], ["hf", "L40S"]]
    small = [line for line in costs(config, KNOWN["Qwen/Qwen3-32B"], tokens).splitlines() if " hf " in line]
    assert [line.split()[-1] for line in small if " 24 " in line] == ["no", "no"]


def test_the_need_of_qwen3_8b_fits_the_cards_of_its_config():
    config = load_config(ROOT / "configs/train-qwen3-8b.yaml", TrainConfig)
    shape = KNOWN[config.model]
    need = need_of(config, gpu_needs(config, shape, {"train": [(60, 30)] * 800, "val": [(60, 30)] * 100}))
    assert 10 < need.memory_gb < 40 and need.disk_gb >= 50
    assert [candidate.name for candidate in need.gpus] == config.remote.gpus
    assert all(5 < low < high < 180 for low, high in (candidate.minutes for candidate in need.gpus))
    longer = need_of(config, gpu_needs(config, shape, {"train": [(600, 300)] * 800, "val": []}))
    assert longer.memory_gb > need.memory_gb


def test_a_gpu_that_the_plan_does_not_know_is_reckoned_as_the_slowest():
    config = load_config(ROOT / "configs/train-qwen3-8b.yaml", TrainConfig)
    config = config.model_copy(update={"remote": config.remote.model_copy(update={"gpus": ["A40", "B300"]})})
    tokens = {"train": [(60, 30)] * 800, "val": []}
    known, unknown = need_of(config, gpu_needs(config, KNOWN[config.model], tokens)).gpus
    assert unknown.minutes[1] >= known.minutes[1]


@pytest.mark.parametrize("text, number", [("48 GB", 48), ("1.5 TB", 1500), ("N/A", 0), ("", 0)])
def test_sizes_of_flavors_are_read(text, number):
    assert gigabytes(text) == number


@pytest.mark.parametrize("field", ["nextCursor", "next_cursor", "cursor", "next"])
@pytest.mark.parametrize("holder", [None, "pagination", "pageInfo"])
def test_whatever_the_cursor_is_called_every_page_is_read(monkeypatch, field, holder):
    def answer(request):
        page = int(request.url.params.get("cursor", "0"))
        more = {field: str(page + 1)} if page < 3 else {field: None}
        return httpx.Response(200, json={"pods": [{"id": str(page)}], **({holder: more} if holder else more)})

    assert [pod["id"] for pod in api(monkeypatch, answer).pods()] == ["0", "1", "2", "3"]


def test_pages_in_a_circle_end(monkeypatch):
    client = api(monkeypatch, lambda request: httpx.Response(200, json={"pods": [], "nextCursor": "x"}))
    with pytest.raises(UserError, match="in a circle"):
        client.pods()


@pytest.mark.parametrize("text", ["not json", "[]", "{}", '{"pods": 1}'])
def test_a_list_that_cannot_be_read_is_never_an_empty_one(monkeypatch, text):
    with pytest.raises(UserError):
        api(monkeypatch, lambda request: httpx.Response(200, text=text)).pods()


def test_an_error_shows_the_servers_detail_and_no_key(monkeypatch):
    problem = {"title": "x", "status": 422, "detail": "bad", "errors": ["$: additional properties 'a'"]}
    with pytest.raises(UserError, match=r"bad; .*additional properties") as caught:
        api(monkeypatch, lambda request: httpx.Response(422, json=problem)).create({})
    assert "key" not in str(caught.value).lower().replace("runpod_api_key", "")


@pytest.mark.parametrize("pod_id", ["../account", "a/b", "", "x" * 65])
def test_an_id_that_is_none_reaches_no_path(monkeypatch, pod_id):
    client = api(monkeypatch, lambda request: pytest.fail("asked"))
    with pytest.raises(UserError, match="is no pod id"):
        client.pod(pod_id)


def test_a_gpu_without_a_price_or_memory_is_no_offer(monkeypatch):
    row = {"id": "NVIDIA A40", "name": "A40", "memory": 48, "price": {"secure": 0.44}, "availability": "LOW"}
    rows = [row, {**row, "price": {}}, {**row, "memory": None}, {**row, "price": None}, {**row, "memory": 8}]
    client = api(monkeypatch, lambda request: httpx.Response(200, json={"gpus": rows}))
    offers = RunPod(client, Clock(), print).offers(NEED)
    assert len(offers) == 1 and math.isclose(offers[0].usd_per_hour, 0.44 + 80 * 0.1 / 730)


def test_importing_the_room_imports_neither_httpx_nor_huggingface_hub():
    import subprocess
    import sys

    code = "import sys, lib.remote.renting, lib.remote.runpod, lib.remote.hf_jobs, lib.remote.rented, json;"
    code += (
        "print(json.dumps([name for name in ('httpx', 'huggingface_hub', 'torch') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert json.loads(done.stdout) == [], done.stderr


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:1", "http://127.0.0.1:1/", "http://127.0.0.1:1/v2", "http://127.0.0.1:1/v2/"]
)
def test_the_base_address_may_name_the_version_or_not(monkeypatch, base):
    monkeypatch.setenv("RUNPOD_API_KEY", "key")
    monkeypatch.setenv("RUNPOD_API_BASE_URL", base)
    assert RunPodApi(Clock()).base_url == "http://127.0.0.1:1/v2"
