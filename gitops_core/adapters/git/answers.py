"""What git's answers mean: from exit codes and complaints to gitops_core.errors.

Git tells machines little, so its English sentences are matched (LC_ALL=C). The rule for what none matches: a GitError,
which is tried again.

Source: the messages of git 2.39 to 2.51, remote-curl.c, send-pack.c, builtin/receive-pack.c, packfile.c.
"""

from __future__ import annotations

import re

from gitops_core.adapters.git.commands import Result
from gitops_core.errors import GitAccessDenied, GitError, PushConflict, PushDenied, RefNotFound
from gitops_core.ports import WriteAccess

_ACCESS = re.compile(
    r"Authentication failed|could not read (Username|Password)|returned error: 40[137]|terminal prompts disabled"
    r"|Permission denied \(|Host key verification failed|No .* host key is known|invalid credentials"
    r"|incorrect passphrase|Load key .*:|error in libcrypto|HTTP 40[13]",
    re.IGNORECASE,
)
_PROMPT = re.compile(r"could not read (Username|Password)|terminal prompts disabled", re.IGNORECASE)
_NO_COMMIT = re.compile(r"not our ref|no such remote ref|couldn't find remote ref|unadvertised object", re.IGNORECASE)
_REDIRECT = re.compile(r"returned error: 30[12378]|unable to update url base from redirection", re.IGNORECASE)
_DAMAGE = re.compile(
    r"not a git repository|bad object|object file .* is empty|loose object .* corrupt|is corrupt|packfile .* "
    r"|unable to (read|unpack|parse)|missing (blob|tree|commit|object)|(bad|invalid) shallow|shallow file has changed"
    r"|Unable to create '.*\.lock'|did not send all necessary objects|could not (parse|read) |inflate"
    r"|bad config|index file|failed to traverse parents|bad tree object|cannot lock ref|invalid sha1 pointer"
    r"|pack .* (not|bad|wrong)|Not a valid object",
    re.IGNORECASE,
)
_FULL = re.compile(r"No space left on device|Disk quota exceeded|File too large|write error", re.IGNORECASE)


class MirrorDamaged(GitError):
    """The mirror on this disk, not the remote, is at fault: it is made anew, once."""


def is_redirect(result: Result) -> bool:
    return result.code != 0 and bool(_REDIRECT.search(result.stderr))


def is_denied(result: Result) -> bool:
    return result.code != 0 and bool(_ACCESS.search(result.stderr))


def refuses_commit_ids(result: Result) -> bool:
    """Tell whether this is an old server's refusal, which hands out the tips of its refs only."""
    return "unadvertised object" in result.stderr


def make_failure(result: Result, what: str) -> GitError:
    """Return the error that a failed conversation with a remote stands for.

    Args:
        what: names the deed and the place, e.g. `git fetch of https://...`.
    """
    said, ours = result.stderr, _drop_remote(result.stderr)
    if _REDIRECT.search(ours):
        return GitError(f"{what}: the repository has moved to another place: name its new URL")
    if _PROMPT.search(said):  # what git says then is about a terminal
        cause = "no credentials were given, or they were refused"
        return GitAccessDenied(f"{what}: access denied: {cause}", reason=GitError.reason)
    if _ACCESS.search(said):
        return GitAccessDenied(f"{what}: access denied: {extract_gist(said)}", reason=GitError.reason)
    if _NO_COMMIT.search(said):
        return RefNotFound(f"{what}: the remote has no such commit")
    if _FULL.search(ours):
        return GitError(f"{what}: the disk of the mirrors is full: {extract_gist(said)}")
    if _DAMAGE.search(ours):
        return MirrorDamaged(f"{what}: {extract_gist(said)}")
    return GitError(f"{what} failed: {extract_gist(said) or f'exit code {result.code}'}")


def make_local_failure(result: Result, what: str) -> GitError:
    """Return the error of a failed command on a mirror: where the disk is not full, the mirror is damaged."""
    if _FULL.search(result.stderr):
        return GitError(f"{what}: the disk of the mirrors is full: {extract_gist(result.stderr)}")
    return MirrorDamaged(f"{what} failed: {extract_gist(result.stderr) or f'exit code {result.code}'}")


_NO_PUSH = re.compile(
    r"read.?only(?! file system)|write access|not granted|service not enabled|not allowed|not permitted"
    r"|sufficient authorization|cannot push|not support push|denied|forbidden"
    r"|unauthorized|returned error: 404|repository '.*' not found",
    re.IGNORECASE,
)


def judge_write_access(result: Result) -> WriteAccess:
    """Judge a dry run of a push by who was let in to read: past the advertisement of the refs, a push is taken.

    What is refused there, and in which words, is the server's affair; a refusal that is not recognised is no answer.
    """
    if any(re.match(r"[ +*=!-]\t", line) for line in result.stdout.decode("utf-8", "replace").splitlines()):
        return WriteAccess(granted=True)
    if _ACCESS.search(result.stderr) or _NO_PUSH.search(result.stderr):
        return WriteAccess(granted=False)
    return WriteAccess(granted=None, why=extract_gist(result.stderr) or f"exit code {result.code}")


def _drop_remote(stderr: str) -> str:
    return "\n".join(line for line in stderr.splitlines() if not re.match(r"remote:|fatal: remote error|ERR ", line))


_IDLE_TALK = re.compile(r"hint:|To |Please make sure|and the repository exists|remote:$|!\s|\s*$")


def extract_gist(stderr: str) -> str:
    """Return the cause in an answer, in one line of at most 300 printable characters."""
    lines = (re.sub(r"\s+", " ", line).strip() for line in re.split(r"[\r\n]+", stderr))
    telling = (re.sub(r"^(fatal|error|ERROR|remote): ", "", line) for line in lines if not _IDLE_TALK.match(line))
    text = "".join(character if character.isprintable() else "?" for character in "; ".join(dict.fromkeys(telling)))
    return text if len(text) <= 300 else text[:297] + "..."


# what `git push --porcelain` says of one ref: <flag> TAB <from>:<to> TAB <summary> (<reason>)

_CONFLICT = re.compile(
    r"non-fast-forward|fetch first|stale info|needs force|cannot lock ref|failed to (lock|update) ref"
    r"|incorrect old value|reference already exists|remote ref updated|unable to lock",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"declin|protected|denied|deny|not allowed|not permitted|permission|prohibit|forbidden|read.?only|checked out"
    r"|hidden ref|rule violation|unauthorized",
    re.IGNORECASE,
)


def judge_push(result: Result, what: str) -> GitError | None:
    """Judge a push: return its error, None when every ref is at the pushed commit."""
    lines = [line for line in result.stdout.decode("utf-8", "replace").splitlines() if re.match(r"[ +*=!-]\t", line)]
    refused = [line for line in lines if line.startswith("!")]
    if lines and not refused and result.code == 0:
        return None
    if unknown := _NOT_KNOWN.search(result.stderr):
        return PushDenied(f"{what}: the server takes no {unknown[1]}: {_INSTEAD[unknown[1]]}")
    if refused:
        # of refs that move together, those that only suffer with another one do not say why
        telling = next((line for line in refused if "atomic" not in line), refused[0])
        return _make_refusal(telling.partition("\t")[2], result, what)
    if re.search(r"returned error: 403|denied to|not allowed to push|protected branch", result.stderr):
        return PushDenied(f"{what}: {extract_gist(result.stderr)}")
    return make_failure(result, what)


_NOT_KNOWN = re.compile(r"the receiving end does not support (?:--)?(push options|atomic push)")
_INSTEAD = {
    "push options": "leave spec.git.push.options out, or enable them there (receive.advertisePushOptions)",
    "atomic push": "a branch and a refspec could not move together: leave spec.git.push.refspec out",
}


def _make_refusal(summary: str, result: Result, what: str) -> GitError:
    said = f"{what}: {summary.partition(chr(9))[2]}"
    if _CONFLICT.search(summary):
        return PushConflict(f"{said}: the branch is no longer where it was")
    if "[remote rejected]" in summary and (_DENIED.search(summary) or "hook" in summary):
        return PushDenied(f"{said}: {extract_gist(result.stderr)}")
    return GitError(f"{said}: {extract_gist(result.stderr)}")
