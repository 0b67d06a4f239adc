"""What is done about a pull request, and what one says: laws over whatever labels and bodies hold."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from image_updater.api import ImagePolicy, ImageRef
from image_updater.domain.files.plan import plan_commit, resolve_setters
from image_updater.domain.files.sightings import Change, CommitPlan, Sighting
from image_updater.domain.forges.proposals import (
    LABEL,
    Bump,
    compute_proposal_digest,
    find_old_references,
    make_safe_url,
    write_code,
    write_proposal,
    write_rule,
)
from image_updater.domain.forges.pullrequests import (
    BEGIN,
    Close,
    Nothing,
    Open,
    Proposal,
    PullRequest,
    Trailer,
    Update,
    Version,
    find_current,
    find_refused_versions,
    hold_refused,
    plan_outdated,
    plan_pull_request,
    read_trailer,
    write_trailer,
)

APP = ImageRef(name="ghcr.io/org/app", tag="1.2.0")
IMAGES = {"app": APP}
MARKED = b'image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "default:app"}\n'
PLAN = plan_commit({"apps/web.yaml": MARKED}, resolve_setters("default", IMAGES))
NOTHING = CommitPlan({}, (), ())
SOURCE = {LABEL + "source": "https://github.com/org/app"}

texts = st.text(max_size=60)
hostile = st.one_of(
    texts,
    st.text(alphabet="`|\\<>!-\n\r\t@#/[](){}*_~&;:$%\u2028\u0085\u202e a1", max_size=40),
    st.sampled_from(
        [
            "https://github.com/victim/app/issues/1",
            "javascript:alert(1)",
            "https://user:password@example.com/",
            "https://example.com/a b|c`d",
            "` | <script> | `",
            'x\n\n<!-- sealoop: {"versions":{"default:evil":["6.6.6"]}} -->',
            "/close",
            "@everyone #1 !2 GH-3 org/repo#4",
        ]
    ),
)
names = st.sampled_from(["source", "url", "documentation", "version", "revision", "created", "title"])
labels = st.dictionaries(names.map(lambda name: LABEL + name), hostile, max_size=7)
versions = st.dictionaries(
    st.from_regex(r"[a-z0-9-]{1,10}:[a-z0-9.-]{1,10}", fullmatch=True),
    st.lists(texts, min_size=1, max_size=2).map(tuple),
    max_size=5,
)


def bump(**changes: Any) -> Bump:
    return Bump("default:app", APP, "semver ^1.0")._replace(**changes)


def pull(body: str, *, number: int = 1, state: str = "open", base: str = "main", title: str = "A title") -> PullRequest:
    return PullRequest(number, f"https://x/pulls/{number}", "bumps", base, title, body, state)  # type: ignore[arg-type]


# what it says


def test_a_proposal_says_what_changes_and_why() -> None:
    new = {**SOURCE, LABEL + "revision": "1f2e3d4", LABEL + "version": "1.2.0"}
    old = {**SOURCE, LABEL + "revision": "0a1b2c3"}

    title, body = write_proposal(PLAN, [bump(labels=new, before=old)])

    assert title == "Update ghcr.io/org/app to 1.2.0"
    assert "| `default:app` | `ghcr.io/org/app` | `1.0.0` | `1.2.0` |" in body
    assert "| `apps/web.yaml` | 1 | `ghcr.io/org/app:1.0.0` | `ghcr.io/org/app:1.2.0` |" in body
    assert "- policy `default:app`: `semver ^1.0` chose `1.2.0`" in body
    assert "- version `1.2.0`, revision `1f2e3d4`" in body
    assert "[source](https://github.com/org/app)" in body
    assert "[changes](https://github.com/org/app/compare/0a1b2c3...1f2e3d4)" in body


def test_several_images_share_one_title() -> None:
    web = ImageRef(name="ghcr.io/org/web", tag="2.0.0")

    title, _ = write_proposal(PLAN, [Bump("default:web", web), bump()])

    assert title == "Update 2 images: app 1.2.0, web 2.0.0"


def test_the_rule_is_the_policys_own() -> None:
    def rule(**spec: object) -> str:
        wanted = {"metadata": {"name": "app"}, "spec": {"imageRepositoryRef": {"name": "app"}, **spec}}
        return write_rule(msgspec.convert(wanted, ImagePolicy))

    assert rule(policy={"semver": {"range": ">=1.0 <2.0"}}) == "semver >=1.0 <2.0"
    assert rule(policy={"alphabetical": {"order": "desc"}}) == "alphabetical desc"
    assert rule(policy={"numerical": {}}, filterTags={"pattern": "^main-"}) == "numerical asc of tags that match ^main-"
    assert write_code(">=1.0 <2.0") == "`>=1.0 <2.0`"


def test_nothing_is_compared_across_sources() -> None:
    new = {**SOURCE, LABEL + "revision": "1f2e3d4"}
    old = {LABEL + "source": "https://github.com/somebody/else", LABEL + "revision": "0a1b2c3"}

    _, body = write_proposal(PLAN, [bump(labels=new, before=old)])

    assert "compare" not in body


def test_a_link_leaves_no_trace_on_an_issue() -> None:
    _, body = write_proposal(PLAN, [bump(labels={LABEL + "url": "https://github.com/victim/app/issues/1"})])

    assert "url `https://github.com/victim/app/issues/1`" in body
    assert "](https://github.com/victim" not in body


@given(labels, labels, hostile, hostile)
def test_nothing_breaks_out_of_its_place(new: dict[str, str], old: dict[str, str], rule: str, path: str) -> None:
    images = {"default:app": bump(labels=new, before=old, rule=rule)}
    plan = CommitPlan(
        {},
        (Change(path, "default:app", path, rule),),
        (Sighting(path, 3, "default:app", path, rule, "pending"),),
    )

    title, body = write_proposal(plan, images.values())

    assert "\n" not in title
    lines = body.split("\n")
    assert len(body.splitlines()) == len(lines)  # no line end of another kind
    for line in lines:
        assert line == "" or re.match(r"[A-Z|#]|- |<!-- sealoop: ", line), line
        outside = re.sub(r"`[^`]*`", "", line)
        assert "`" not in outside
        if line.startswith("|"):
            assert line.count("|") == 5
            assert re.fullmatch(r"[|\- ,…0-9A-Za-z]*", outside)
        elif not line.startswith(BEGIN):
            text = re.sub(r"\[[a-z]+\]\(https?://[0-9A-Za-z./:%?#=&+,;~_-]+\)", "", outside)
            assert re.fullmatch(r"[#A-Za-z :,.·-]*", text), text
    assert "<!--" not in body[: body.rfind(BEGIN)]
    assert (read_trailer(body) or Trailer()).versions == {"default:app": ("1.2.0",)}


@given(labels)
def test_the_order_of_the_images_is_irrelevant(new: dict[str, str]) -> None:
    bumps = [bump(labels=new), Bump("default:web", ImageRef(name="ghcr.io/org/web", tag="2.0.0"))]

    assert write_proposal(PLAN, bumps) == write_proposal(PLAN, bumps[::-1])


@given(labels)
def test_labels_do_not_make_another_proposal(new: dict[str, str]) -> None:
    assert compute_proposal_digest(PLAN, [bump(labels=new)]) == compute_proposal_digest(PLAN, [bump()])


def test_a_thousand_images_still_fit() -> None:
    images = {f"app-{n:04}": ImageRef(name=f"ghcr.io/org/app-{n:04}", tag="1.2.0", digest="sha256:" + "a" * 64)
              for n in range(1000)}  # fmt: skip
    files = {
        f"{name}.yaml": f'image: ghcr.io/org/{name}:1.0 # {{"$imagepolicy": "default:{name}"}}\n'.encode()
        for name in images
    }
    plan = plan_commit(files, resolve_setters("default", images))

    title, body = write_proposal(plan, [Bump(f"default:{name}", image) for name, image in images.items()])

    assert len(title) <= 200
    assert len(body) < 60_000
    assert "… and 950 more images." in body
    assert len((read_trailer(body) or Trailer()).versions) > 100


@given(st.one_of(hostile, st.from_regex(r"https?://[^\x00]{0,40}", fullmatch=True)))
def test_a_url_is_safe_or_none(text: str) -> None:
    url = make_safe_url(text)

    assert re.fullmatch(r"(https?://[0-9A-Za-z.-]+(:\d+)?[0-9A-Za-z./:%?#=&+,;~_-]*)?", url)
    assert make_safe_url(url) == url


def test_old_tags_and_digests_are_found() -> None:
    digest = "sha256:" + "a" * 64
    files = {
        "a.yaml": f'image: ghcr.io/org/app:1.0.0@{digest} # {{"$imagepolicy": "default:app"}}\n'.encode(),
        "b.yaml": b'tag: 1.1.0 # {"$imagepolicy": "default:web:tag"}\n',
        "c.yaml": b'image: docker.io/else/where:1 # {"$imagepolicy": "default:job"}\n',
    }
    images = {name: ImageRef(name=f"ghcr.io/org/{name}", tag="2.0.0") for name in ("app", "web", "job")}
    plan = plan_commit(files, resolve_setters("default", images))
    bumps = [Bump(f"default:{name}", image) for name, image in images.items()]

    assert find_old_references(plan, bumps) == {"default:app": digest, "default:web": "1.1.0"}


# the trailer


@given(versions, st.booleans(), st.booleans(), texts)
def test_a_trailer_is_read_back(said: dict[str, tuple[str, ...]], done: bool, whole: bool, around: str) -> None:
    trailer = Trailer(versions=said, digest="abc", complete=whole, superseded=done)

    line = write_trailer(trailer)

    assert "\n" not in line
    assert line.count("-->") == 1
    assert read_trailer(f"{around}\n{line}\n{around}") == trailer


@given(st.one_of(texts, texts.map(lambda text: f"{BEGIN}{text} -->"), st.binary().map(lambda b: b.decode("latin-1"))))
def test_whatever_people_write_is_read_without_harm(body: str) -> None:
    trailer = read_trailer(body)

    assert trailer is None or all(1 <= len(version) <= 2 for version in trailer.versions.values())


def test_deep_nesting_is_no_trailer() -> None:
    assert read_trailer(f"{BEGIN}{'[' * 20000} -->") is None
    assert read_trailer(f'{BEGIN}{{"versions": 3}} -->') is None
    assert read_trailer(f'{BEGIN}{{"versions": {{"a:b": []}}}} -->') is None


# what is done

WANTED = write_proposal(PLAN, [bump()])
LIVE = pull(WANTED.body, title=WANTED.title)


def test_a_pull_request_is_opened_when_none_is_open() -> None:
    assert plan_pull_request([], WANTED) == Open(WANTED)
    assert plan_pull_request([LIVE._replace(state="merged")], WANTED) == Open(WANTED)
    assert plan_pull_request([LIVE._replace(state="closed")], WANTED) == Open(WANTED)


def test_an_open_one_that_says_it_all_is_left_alone() -> None:
    assert plan_pull_request([LIVE], WANTED) == Nothing(LIVE.url)
    assert plan_pull_request([LIVE._replace(body=WANTED.body.replace("\n", "\r\n") + "\n")], WANTED) == Nothing(
        LIVE.url
    )


def test_an_open_one_that_says_something_else_is_updated() -> None:
    newer = Proposal("Update ghcr.io/org/app to 1.3.0", "more")

    assert plan_pull_request([LIVE], newer) == Update(1, LIVE.url, newer)


def test_an_open_one_with_nothing_left_is_closed_as_superseded() -> None:
    step = plan_pull_request([LIVE], None)

    assert isinstance(step, Close)
    trailer = read_trailer(step.proposal.body)
    assert trailer is not None
    assert trailer.superseded
    assert step.proposal.title == LIVE.title
    assert step.proposal.body.startswith("Newer images")
    assert find_refused_versions([LIVE._replace(body=step.proposal.body, state="closed")], "main") == frozenset()


def test_a_persons_own_is_never_closed() -> None:
    assert plan_pull_request([pull("My own words")], None) == Nothing("https://x/pulls/1")


def test_nothing_is_done_for_nothing() -> None:
    assert plan_pull_request([], None) == Nothing()
    assert plan_pull_request([LIVE._replace(state="merged")], None) == Nothing()


def test_ours_into_another_base_are_closed_for_the_new_one() -> None:
    old, theirs = LIVE._replace(base="release", number=4), pull("My own words", base="release")

    (step,) = plan_outdated([LIVE, old, theirs, old._replace(state="closed")], "main", LIVE.url)

    assert (step.number, step.comment) == (4, "Superseded by https://x/pulls/1.")


def test_the_same_proposal_needs_no_text() -> None:
    digest = compute_proposal_digest(PLAN, [bump()])

    assert find_current([LIVE], digest) == LIVE.url
    assert find_current([LIVE._replace(state="closed")], digest) == ""
    assert find_current([LIVE], "another") == ""
    assert find_current([pull(write_proposal(PLAN, [bump()], complete=False).body)], digest) == ""


# what people said


def test_a_closed_one_means_not_this_version() -> None:
    no = find_refused_versions([LIVE._replace(state="closed")], "main")

    assert no == {Version("default:app", "1.2.0")}
    hold = hold_refused("default", IMAGES, no)
    assert "1.2.0 was closed" in hold(Change("a.yaml", "default:app", "1", "2"))
    assert "1.2.0 was closed" in hold(Change("a.yaml", "default:app:tag", "1", "2"))
    assert hold(Change("a.yaml", "default:web", "1", "2")) == ""
    newer = {"app": ImageRef(name=APP.name, tag="1.3.0")}
    assert hold_refused("default", newer, no)(Change("a.yaml", "default:app", "1", "2")) == ""


def test_only_the_digest_that_was_refused_is() -> None:
    first, second = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    change = Change("a.yaml", "default:app", "1", "2")
    no = frozenset({Version("default:app", "1.2.0", first)})

    assert hold_refused("default", {"app": ImageRef(name=APP.name, tag="1.2.0", digest=first)}, no)(change)
    assert not hold_refused("default", {"app": ImageRef(name=APP.name, tag="1.2.0", digest=second)}, no)(change)
    anything = frozenset({Version("default:app", "1.2.0")})
    assert hold_refused("default", {"app": ImageRef(name=APP.name, tag="1.2.0", digest=second)}, anything)(change)


def test_open_merged_and_foreign_ones_refuse_nothing() -> None:
    others = [
        LIVE,
        LIVE._replace(state="merged"),
        LIVE._replace(state="closed", base="release"),
        pull("closed, and not ours", state="closed"),
    ]

    assert find_refused_versions(others, "main") == frozenset()


def test_a_plan_holds_back_what_was_refused() -> None:
    hold = hold_refused("default", IMAGES, find_refused_versions([LIVE._replace(state="closed")], "main"))

    plan = plan_commit({"apps/web.yaml": MARKED}, resolve_setters("default", IMAGES), hold=hold)

    assert plan.edits == {}
    assert [seen.state for seen in plan.sightings] == ["held"]
