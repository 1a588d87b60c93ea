"""Does requirements-runpod.txt fit every image that docs/runpod-by-hand.md names?

    .venv/bin/python .ci/pod_packages.py     # wants .venv/uv and .venv/unsloth-cpu, see .ci/run

uv resolves the file against the image's torch, as pip would on the pod. Then training with both backends,
answering and the benchmark run on a tiny model, under a torch that looks like the image's (.ci/pod_image) and
beside the packages of tests/unsloth-cpu.txt.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / ".venv" / "unsloth-cpu"
SHOWN = ("torch", "torchvision", "triton", "torchao", "xformers", "unsloth", "unsloth-zoo")
STEPS = {
    "train, backend: peft": ["scripts.train", "--config", "configs/train-plain.yaml"],
    "generate": [
        "scripts.generate",
        "--config",
        "configs/train-plain.yaml",
        "--eval",
        "configs/eval-offline.yaml",
    ],
    "train, backend: unsloth": ["tests.unsloth_cpu", "--config", "configs/train-unsloth.yaml"],
    "bench-train": ["scripts.bench_train", "--steps", "4"],
}


def images() -> dict[str, tuple[str, str]]:
    """{image of docs/runpod-by-hand.md: (its torch, its Python)}, read from RunPod's two kinds of tags."""
    found = {}
    page = (ROOT / "docs" / "runpod-by-hand.md").read_text()
    for image, tag in re.findall(r"(runpod/pytorch:([\w.-]+))", page):
        if old := re.match(r"(\d+\.\d+\.\d+)-py(\d+\.\d+)-", tag):
            found[image] = (old[1], old[2])
        elif new := re.search(r"-torch(\d)(\d+)(\d)-ubuntu(\d{4})$", tag):
            found[image] = (".".join(new.groups()[:3]), {"2204": "3.10", "2404": "3.12"}[new[4]])
        else:
            sys.exit(f"error: docs/runpod-by-hand.md: {image} does not say which torch it holds")
    return found or sys.exit("error: docs/runpod-by-hand.md names no image")


def xformers_of(torch: str) -> str:
    """The line that requirements-runpod.txt has for this torch, as `make setup-runpod` takes it."""
    text = (ROOT / "requirements-runpod.txt").read_text()
    found = re.findall(rf"^# torch {re.escape(torch)}: (xformers==\S+)$", text, re.MULTILINE)
    return (
        found[0] if len(found) == 1 else sys.exit(f"error: requirements-runpod.txt: no xformers for {torch}")
    )


def resolved(torch: str, python: str) -> dict[str, str]:
    """{package: version} that an image with this torch gets."""
    with tempfile.TemporaryDirectory() as folder:
        constraint = Path(folder) / "image-torch.txt"
        constraint.write_text(f"torch=={torch}\n{xformers_of(torch)}\n")
        command = [ROOT / ".venv/uv/bin/uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
        command += ["--python-platform", "x86_64-manylinux_2_35", "--python-version", python]
        command += ["-c", constraint, ROOT / "requirements-runpod.txt"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(
            f"error: requirements-runpod.txt does not fit torch {torch} and Python {python}:\n{done.stderr}"
        )
    return dict(re.findall(r"^([\w.-]+)==(\S+)", done.stdout, re.MULTILINE))


def workspace(folder: Path) -> None:
    from tests.training_data import CONFIG, write_workspace

    plain = CONFIG.replace("epochs: 3", "epochs: 1").replace("evals_per_run: 5", "evals_per_run: 2")
    plain = plain.replace("patience: 3", "patience: 1")  # early stopping has to be able to fire
    write_workspace(folder, plain)
    configs = folder / "configs"
    (configs / "train-tiny.yaml").rename(configs / "train-plain.yaml")
    (configs / "train-unsloth.yaml").write_text(plain.replace("backend: peft", "backend: auto"))
    shutil.copy(ROOT / "configs" / "eval-offline.yaml", configs)
    manifest = folder / "data" / "sample" / "processed" / "manifest.json"
    manifest.write_text('{"embedding_model": "char-ngrams", "toxicity_model": "none"}')


def failures(torch: str) -> list[str]:
    """What does not run beside this torch, each with the end of what it said."""
    path = os.pathsep.join(map(str, (ROOT / ".ci" / "pod_image", SITE, ROOT)))
    environment = {**os.environ, "PYTHONPATH": path, "POD_TORCH": torch, "OMP_NUM_THREADS": "1"}
    failed = []
    with tempfile.TemporaryDirectory(prefix="pod-") as folder:
        workspace(Path(folder))
        for name, module in STEPS.items():
            command = [sys.executable, "-m", *module]
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
            )
            # The benchmark goes on after an arm that failed; those of Unsloth cannot run without a GPU.
            arms = re.findall(r"^\| [abe] \|.*not run.*", done.stdout, re.MULTILINE)
            if done.returncode or arms:
                failed.append(f"torch {torch}, {name}: {arms[0] if arms else done.stderr[-2000:]}")
    return failed


def main() -> None:
    sys.path.insert(0, str(ROOT))
    found = images()
    for image, (torch, python) in found.items():
        versions = resolved(torch, python)
        shown = ", ".join(f"{name} {versions.get(name, 'none')}" for name in SHOWN)
        print(f"{image}, Python {python}: {shown}")
        torchao = versions["torchao"]
        if not (SITE / f"torchao-{torchao}.dist-info").is_dir():
            sys.exit(
                f"error: that image gets torchao {torchao}, which .venv/unsloth-cpu lacks: "
                "tests/unsloth-cpu.txt"
            )
    torches = sorted({torch for torch, _ in found.values()})
    with ThreadPoolExecutor(2) as pool:
        failed = [failure for several in pool.map(failures, torches) for failure in several]
    if failed:
        sys.exit("error: this does not run on a documented image:\n" + "\n\n".join(failed))
    print(f"pod packages: run beside torch {' and '.join(torches)}: {'; '.join(STEPS)}")


if __name__ == "__main__":
    main()
