"""The README of the Space: its YAML front matter, which is its settings, and what a visitor should know."""

from lib.evaluate.evaluation import Evaluation
from lib.evaluate.report import Report
from lib.publish.card import LIMITS, TERMS
from lib.publish.card_results import evaluation as results
from lib.publish.recordings import Recordings

PYTHON = "3.11"
INVENTED = "The tweets were invented for the pipeline that made this; nobody posted them."
OTHERS = (
    "The tweets are other people's, chosen by whoever publishes this page. Who wrote one and wants it gone "
    "asks them, in this Space's discussions."
)


def space_card(evaluation: Evaluation, recorded: Recordings, gradio: str, report: Report | None) -> str:
    """README.md of the Space. gradio: its exact version. report: of this very adapter, or None."""
    from huggingface_hub import SpaceCardData

    settings = SpaceCardData(
        title=f"Replies of {evaluation.run}",
        emoji="\U0001f4ac",
        colorFrom="blue",
        colorTo="gray",
        sdk="gradio",
        sdk_version=gradio,
        python_version=PYTHON,
        app_file="app.py",
        pinned=False,
        license="apache-2.0",
        short_description="Recorded replies, base and fine-tuned side by side",
    ).to_yaml()
    whose = OTHERS if recorded.are_of_others else INVENTED
    model = evaluation.config.model
    about = f"""# Replies of {evaluation.run}

{len(recorded.shown)} tweets, each with the recorded reply of `{model}` and that of the same model with a LoRA
adapter trained on replies. **Nothing is generated here**: no model runs, nothing that a visitor types or
clicks is kept, and nothing is fetched from elsewhere. {whose}

`python app.py` shows the same page on a machine of your own, after `pip install -r requirements.txt`."""
    return f"---\n{settings}\n---\n\n" + "\n\n".join([about, results(report), TERMS, LIMITS]) + "\n"
