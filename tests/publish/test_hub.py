"""The rules for a repository, its tags and its answers, each by a table; the client's own are elsewhere."""

from itertools import pairwise
from types import SimpleNamespace as Of

import httpx
import pytest
from huggingface_hub import errors

from lib.base.errors import UserError
from lib.publish.hub import Remote, _check_read_back, _refuse_unfit, _remote, _tag, check_repo_name
from lib.publish.hub_answers import in_sentences

REPO, COMMIT = "ann/reply", "c" * 40
FILES = {"README.md": {"bytes": 3, "sha256": "a" * 64}, "adapter.bin": {"bytes": 5, "sha256": "b" * 64}}
SIZES = {"README.md": 3, "adapter.bin": 5}


def remote(private=True, files=(*FILES, ".gitattributes"), sizes=SIZES, hashes=None) -> Remote:
    return Remote(private, COMMIT, frozenset(files), sizes, hashes or {"adapter.bin": "b" * 64})


def refusal(status: int, text: str = "") -> errors.HfHubHTTPError:
    request = httpx.Request("POST", "http://127.0.0.1:1")
    response = httpx.Response(status, request=request)
    return errors.HfHubHTTPError(f"status {status}", response=response, server_message=text or None)


@pytest.mark.parametrize(
    "repo, is_name",
    [
        ("ann/reply-8b", True), ("a/b", True), ("Ann_1/x.y-z", True), ("a" * 90 + "/12345", True),
        ("a" * 91 + "/12345", False), ("ann", False), ("ann/a/b", False), ("ann/-x", False),
        ("ann/x.", False),
        ("ann/a..b", False), ("ann/a--b", False), ("ann/x.git", False), ("ann/ä", False), ("ann/x y", False),
    ],
)  # fmt: skip
def test_a_repository_has_a_name_that_the_hub_takes(repo, is_name):
    if is_name:
        check_repo_name(repo)
    else:
        with pytest.raises(UserError, match="expected <user>/<name>"):
            check_repo_name(repo)


@pytest.mark.parametrize(
    "private, public, said",
    [(True, False, None), (False, True, None), (False, False, "is public, and a private one"),
     (True, True, "is private, and a public one")],
)  # fmt: skip
def test_a_repository_is_as_public_as_was_asked_for(private, public, said):
    if said is None:
        _refuse_unfit(remote(private), REPO, public, FILES)
    else:
        with pytest.raises(UserError, match=f"{said}.*Nothing was uploaded"):
            _refuse_unfit(remote(private), REPO, public, FILES)


@pytest.mark.parametrize(
    "there, foreign",
    [((), None), ((".gitattributes", "README.md"), None), (("README.md", "x.py", "b/y"), "b/y, x.py")],
)
def test_somebody_elses_files_are_named(there, foreign):
    if foreign is None:
        _refuse_unfit(remote(files=there), REPO, False, FILES)
    else:
        with pytest.raises(UserError, match=f"do not belong to this adapter: {foreign}\\."):
            _refuse_unfit(remote(files=there), REPO, False, FILES)


@pytest.mark.parametrize(
    "changes, odd",
    [
        ({}, None), ({"files": tuple(FILES)}, None),
        ({"hashes": {"other": "x"}, "sizes": {"other": 1}}, None),
        ({"files": ("README.md",)}, "adapter.bin"), ({"files": (*FILES, "x")}, "x"),
        ({"sizes": {"README.md": 2}}, "README.md"), ({"sizes": {"README.md": 4}}, "README.md"),
        ({"hashes": {"adapter.bin": "c" * 64}}, "adapter.bin"),
        ({"sizes": {"adapter.bin": 4}, "hashes": {"adapter.bin": "c" * 64}}, "adapter.bin"),
    ],
)  # fmt: skip
def test_what_differs_when_it_is_read_back_is_named_once(changes, odd):
    if odd is None:
        _check_read_back(remote(**changes), REPO, False, FILES)
    else:
        with pytest.raises(UserError, match=f"differ from dist: {odd}\\. Run"):
            _check_read_back(remote(**changes), REPO, False, FILES)


def test_a_repository_that_came_out_public_is_told_before_all_else():
    with pytest.raises(UserError, match="is public although"):
        _check_read_back(remote(False, files=()), REPO, False, FILES)
    _check_read_back(remote(False), REPO, True, FILES)


@pytest.mark.parametrize("private, is_private", [(True, True), (False, False), (None, False)])
def test_private_is_what_the_hub_calls_private(private, is_private):
    siblings = [
        Of(rfilename="a", size=3, lfs=None), Of(rfilename="b", size=None, lfs={"sha256": "x"}),
        Of(rfilename="c", size=0, lfs={}),
    ]  # fmt: skip
    api = Of(repo_info=lambda repo, files_metadata: Of(private=private, sha=COMMIT, siblings=siblings))
    found = Remote(is_private, COMMIT, frozenset("abc"), {"a": 3, "c": 0}, {"b": "x"})
    assert _remote(api, REPO) == found
    api = Of(
        repo_info=lambda repo, files_metadata: Of(private=private, sha=None, siblings=None),
        list_repo_files=lambda repo: ["a"],
    )
    assert _remote(api, REPO) == Remote(is_private, None, frozenset("a"), {}, {})


class Tags:
    """The tags of a Hub. rival: commits that somebody else tags meanwhile, one for each of our tries."""

    def __init__(self, tags, rival=()):
        self.tags, self.rival, self.made = dict(tags), list(rival), []

    def list_repo_refs(self, repo):
        return Of(tags=[Of(name=name, target_commit=target) for name, target in self.tags.items()])

    def create_tag(self, repo, tag, revision):
        self.made.append(tag)
        if self.rival:
            self.tags[tag] = self.rival.pop(0)
        if tag in self.tags:
            raise refusal(409)
        self.tags[tag] = revision


OTHER = "d" * 40


@pytest.mark.parametrize(
    "tags, receipt, tag",
    [
        ({}, None, "v1"), ({"v1": OTHER}, None, "v2"),
        ({"v2": OTHER, "v10": OTHER, "v9": OTHER}, None, "v11"),
        ({"v1": COMMIT, "v2": OTHER}, None, "v1"), ({"v10": COMMIT, "v9": COMMIT}, None, "v9"),
        ({}, "v3", "v4"), ({"v1": OTHER}, "v3", "v4"), ({"v7": OTHER}, "v3", "v8"),
        ({"v0": OTHER, "v01": OTHER, "v1.0": OTHER, "main": COMMIT, "v9999999999": OTHER}, None, "v1"),
    ],
)  # fmt: skip
def test_a_commit_has_one_tag_the_first_of_its_own_or_the_next_number(tags, receipt, tag):
    assert _tag(Tags(tags), REPO, COMMIT, {"tag": receipt} if receipt else None) == tag


def test_a_tag_that_somebody_made_meanwhile_is_looked_at_again():
    ours = Tags({}, [COMMIT])
    assert _tag(ours, REPO, COMMIT, None) == "v1" and ours.made == ["v1"]
    theirs = Tags({}, [OTHER, OTHER])
    assert _tag(theirs, REPO, COMMIT, None) == "v3" and theirs.made == ["v1", "v2", "v3"]
    with pytest.raises(UserError, match="somebody else tags it"):
        _tag(endless := Tags({}, [OTHER] * 99), REPO, COMMIT, None)
    assert len(endless.made) == 5
    broken = Tags({})
    broken.create_tag = lambda *_, **__: (_ for _ in ()).throw(refusal(500))
    with pytest.raises(errors.HfHubHTTPError):
        _tag(broken, REPO, COMMIT, None)


def caused(*chain: Exception) -> Exception:
    """The first of these errors, each the cause of the one before it."""
    for outer, inner in pairwise(chain):
        outer.__cause__ = inner
    return chain[0]


@pytest.mark.parametrize(
    "error, said",
    [
        (refusal(401), "HF_TOKEN was refused (401)"), (refusal(403), "may not write to ann/reply (403)"),
        (refusal(404), "ann/reply is not there"), (refusal(409), "busy with another change of ann/reply"),
        (refusal(412), "was changed while this ran (412)"), (refusal(429), "asks to wait (429)"),
        (refusal(500), "failed with 500; whether the commit arrived is not known"),
        (refusal(503), "failed with 503; whether the commit arrived is not known"),
        (refusal(400, "bad\n  card"), "(400: bad card). Nothing was published."),
        (refusal(499), "(499: no reason given). Nothing was published."),
        (caused(RuntimeError("x"), ValueError("y"), refusal(403)), "may not write to ann/reply"),
        (caused(RuntimeError("x"), errors.OfflineModeIsEnabled("z")), "HF_HUB_OFFLINE is set"),
        (caused(RuntimeError("x"), ValueError("y"), TimeoutError("z")), "to http://h broke (TimeoutError)"),
        (ConnectionError("x"), "to http://h broke (ConnectionError)"),
        (ValueError("Invalid metadata in README.md.\n - no"), "Invalid metadata in README.md. - no"),
    ],
)  # fmt: skip
def test_every_refusal_and_every_fault_is_a_sentence(error, said):
    with pytest.raises(UserError) as caught, in_sentences(REPO, "http://h"):
        raise error
    assert said in str(caught.value) and caught.value.__cause__ is error


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("disk"), KeyError("x")])
def test_what_is_neither_stays_what_it_is(error):
    with pytest.raises(type(error)) as caught, in_sentences(REPO, "http://h"):
        raise error
    assert caught.value is error
