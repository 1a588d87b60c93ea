"""Drop the pairs that are not worth learning from.

    python -m scripts.filter --config configs/data-main.yaml

Reads interim/pairs.jsonl and the replies rejected beside it; writes interim/filtered.rejected.jsonl,
interim/candidates.jsonl (fit but for engagement) and interim/filtered.jsonl.

Cheap checks run first; language and toxicity only on what they leave, and on replies that could be half of a
preference.
"""

from functools import partial

from lib.base.console import run, summary
from lib.base.errors import UserError
from lib.base.files import read_jsonl, rejects_path
from lib.base.schema import Pair, Rejection
from lib.base.seals import checked, write_sealed
from lib.data.filters import filter_pairs, noted, replies_in
from lib.data.interim import CANDIDATES, building
from lib.data.scorers import detect_languages, score_toxicity


def main() -> None:
    with building(__doc__) as (path, config, folder):
        interim = folder / "interim"
        pairs = read_jsonl(checked(interim / "pairs.jsonl"), Pair)
        model = config.filter.toxicity_model
        score = None if model == "none" else partial(score_toxicity, model=model)
        unpaired = rejects_path(interim / "pairs.jsonl")
        others = replies_in(read_jsonl(checked(unpaired), Rejection)) if unpaired.exists() else []
        filtered = filter_pairs(pairs, config.filter, config.preferences, detect_languages, score, others)

        out = interim / "filtered.jsonl"
        write_sealed(rejects_path(out), filtered.rejected, out)
        write_sealed(interim / CANDIDATES, filtered.candidates, out)
        reasons = [rejection.reason for rejection in filtered.rejected]
        print(summary("filter", len(filtered.kept), reasons))
        print(
            "  toxicity: not checked (toxicity_model: none)"
            if score is None
            else f"  toxicity: {model}, below {config.filter.max_toxicity}"
        )
        print(
            f"  {len(filtered.candidates):,} of the rejected lack nothing but engagement"
            " and can still be compared (preferences)"
        )
        for note, n in noted(filtered.kept):
            print(f"  {n:,} of the kept: {note}")
        if not filtered.kept:
            raise UserError(
                f"no pair passes the filter; {rejects_path(out)} says why. Widen the bounds in {path}, or "
                "collect more."
            )
        write_sealed(out, filtered.kept)  # last: make reads this file as "done"
        print(f"wrote {out}")


if __name__ == "__main__":
    run(main)
