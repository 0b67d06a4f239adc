"""`sealoop secrets lint` on checkouts with files that the real sops encrypted."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sealoop.main import main
from tests.sealoop.secrets.conftest import Checkout
from tests.servers.programs import program

VALUE = "hunter2-of-nobody"
HIDDEN = base64.b64encode(VALUE.encode()).decode()
TAIL = re.compile(r"(error|warning): ([^:]+(?::\d+)?): .* \[([a-z-]+)\]")


def called(*words: str, stdin: str | None = None) -> Result:
    shown = CliRunner().invoke(main, ["secrets", "lint", *words], input=stdin)
    assert VALUE not in shown.output
    assert HIDDEN not in shown.output
    return shown


def linted(*words: str) -> list[str]:
    """Return the findings without their words: "error a.yaml:3 plain-secret"."""
    shown = called(*words)
    lines = shown.stdout.splitlines()
    found = [match.expand(r"\1 \2 \3") for line in lines if (match := TAIL.fullmatch(line))]
    assert len(found) == len(lines), shown.output
    assert shown.exit_code == int(any(one.startswith("error") for one in found)), shown.output
    return found


def secret(name: str = "db", value: str = VALUE, more: str = "") -> str:
    return (
        f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: shop\n{more}"
        f"stringData:\n  password: {value}\n"
    )


def kustomization(text: str) -> str:
    return f"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n{text}"


def rules(checkout: Checkout, *more: str, who: int = 0) -> str:
    lines = "".join(f"    {line}\n" for line in more)
    return f"creation_rules:\n  - age: {checkout.keys.recipients[who]}\n{lines}"


# what can be read


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (secret(), 7),
        (f"# a\n---\nkind: ConfigMap\n---\n{secret()}", 11),
        (f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\ndata:\n  a: ''\n  b: {HIDDEN}\n", 6),
        (f"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  stringData: {{b: {VALUE}}}\n", 6),
        (json.dumps({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": VALUE}}), 1),
        (json.dumps({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": VALUE}}, indent="\t"), 5),
        (f'"apiVersion": v1\n"kind": "\\x53ecret"\n"data": {{"a": {HIDDEN}}}\n', 3),
        (f"apiVersion: v1\nkind: !!binary U2VjcmV0\ndata: {{a: {HIDDEN}}}\n", 3),
        (f"kind: HelmRelease\nspec:\n  objects:\n  - apiVersion: v1\n    kind: Secret\n    data: {{a: {HIDDEN}}}\n", 6),
    ],
)
def test_a_secret_whose_values_stand_there_is_an_error_in_the_line_of_the_first(
    checkout: Checkout, text: str, line: int
) -> None:
    checkout.write({"apps/a.yaml": text})

    assert linted() == [f"error apps/a.yaml:{line} plain-secret"]


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: ''}\nstringData: {b: null}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: '${PASSWORD}'}\n",
        f"apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\nstringData: {{a: {VALUE}}}\n",
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: a}\nspec: {encryptedData: {a: AgB}}\n",
        "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: a}\nspec: {data: []}\n",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: Secret}\nspec: {data: {a: b}}\n",
        "kind: Secret\napiVersion: v1\nstringData: {a: {{ .Values.password }}}\n",
        "kind: Secret\napiVersion: v1\nstringData: {a: '{{ .Values.password | quote }}'}\n",
    ],
)
def test_what_holds_no_value_is_clean(checkout: Checkout, text: str) -> None:
    checkout.write({"a.yaml": text})

    assert linted() == []


def test_literals_and_plain_files_of_secret_generators_are_errors_in_the_kustomization(checkout: Checkout) -> None:
    checkout.write(
        {
            "a/kustomization.yaml": kustomization(
                "secretGenerator:\n- name: creds\n  literals:\n  - empty=\n"
                f"  - password={VALUE}\n  - late=${{LATE}}\n"
                "  envs:\n  - sealed.env\n  - plain.env\n  - names.env\n"
                "  files:\n  - key=../plain.txt\n  - sealed.txt\n  - ca.crt\n"
                "configMapGenerator:\n- name: conf\n  literals: [a=b]\n  files: [../public.txt]\n"
            ),
            "a/sealed.env": f"A={VALUE}\n",
            "a/plain.env": f"A={VALUE}\n",
            "a/names.env": "# names\nA=\nB=${B}\n",
            "plain.txt": VALUE,
            "public.txt": VALUE,
            "a/sealed.txt": VALUE,
            "a/ca.crt": "# ours\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        }
    )
    checkout.encrypt("a/sealed.env", "--input-type=dotenv", "--output-type=dotenv")
    checkout.encrypt("a/sealed.txt", "--input-type=binary")

    assert linted() == [f"error a/kustomization.yaml:{line} plain-generator" for line in (7, 11, 14)]


def test_generators_that_stand_apart_are_read_as_those_of_kustomizations(checkout: Checkout) -> None:
    text = "apiVersion: builtin\nkind: SecretGenerator\nmetadata: {name: x}\n"
    inline = "".join(f"  {line}\n" for line in f"{text}literals: [b={VALUE}]".splitlines())
    checkout.write(
        {
            "a/kustomization.yaml": kustomization(f"generators:\n- gen.yaml\n- |\n{inline}"),
            "a/gen.yaml": f"{text}literals: [a={VALUE}]\nenvs:\n- plain.env\n",
            "a/plain.env": f"A={VALUE}\n",
        }
    )

    assert linted() == [
        "error a/gen.yaml:4 plain-generator",
        "error a/gen.yaml:6 plain-generator",
        "error a/kustomization.yaml:5 plain-generator",
    ]


def test_patches_of_secrets_that_say_their_values_are_errors(checkout: Checkout) -> None:
    checkout.write(
        {
            "kustomization.yaml": kustomization(
                "patches:\n"
                "- patch: |\n    apiVersion: v1\n    kind: Secret\n    metadata: {name: a}\n"
                f"    stringData:\n      a: {VALUE}\n"
                "- target: {kind: Secret}\n  patch: |-\n    - op: remove\n      path: /data/a\n"
                f"    - op: add\n      path: /stringData/b\n      value: {VALUE}\n"
                "- target: {kind: Secret}\n  path: patch.yaml\n"
                f"- target: {{kind: ConfigMap}}\n  patch: '[{{op: add, path: /data/b, value: {VALUE}}}]'\n"
            ),
            "patch.yaml": f"- {{op: remove, path: /data/y}}\n- op: add\n  path: /data/x\n  value: {HIDDEN}\n",
        }
    )

    assert linted() == [
        "error kustomization.yaml:9 plain-secret",
        "error kustomization.yaml:14 plain-secret",
        "error patch.yaml:2 plain-secret",
    ]


# what was encrypted


def test_what_sops_encrypted_is_clean(checkout: Checkout) -> None:
    checkout.write({name: secret() for name in ("a.yaml", "whole.yaml")})
    checkout.write(
        {"list.yaml": f"kind: List\napiVersion: v1\nitems: [{json.dumps({'kind': 'Secret', 'data': {'a': VALUE}})}]\n"}
    )
    checkout.write({"both.yaml": f"{secret('a')}---\n{secret('b')}", "a.json": '{"a": "b"}', "a.ini": "[a]\nb=c\n"})
    for name in ("a.yaml", "list.yaml", "both.yaml"):
        checkout.encrypt(name)
    for name in ("whole.yaml", "a.json", "a.ini"):
        checkout.encrypt(name, "--unencrypted-suffix=_plain")

    assert linted() == []


def test_a_file_without_a_mac_is_an_error_and_one_with_a_weak_mac_a_warning(checkout: Checkout) -> None:
    checkout.write({"none.yaml": secret("a"), "weak.yaml": secret("b"), "weak.env": "A=b\n", "none.env": "A=b\n"})
    for name in ("none.yaml", "none.env"):
        text = checkout.encrypt(name, "--encrypted-regex=^(A|stringData)$")
        (line,) = re.findall(r"(?m)^ *(?:sops_)?mac[:=].*\n", text)
        checkout.replace(name, line, "")
    for name in ("weak.yaml", "weak.env"):
        checkout.encrypt(name, "--mac-only-encrypted", "--encrypted-regex=^(A|stringData)$")

    number = checkout.read("weak.yaml").splitlines().index("    mac_only_encrypted: true") + 1
    assert linted() == [
        "error none.env:1 no-mac",
        "error none.yaml:8 no-mac",
        "warning weak.env:1 weak-mac",
        f"warning weak.yaml:{number} weak-mac",
    ]


def test_values_that_the_pattern_misses_can_be_read(checkout: Checkout) -> None:
    text = secret() + f"data:\n  token: {HIDDEN}\n  nothing: ''\n"
    checkout.write({"a.yaml": text})
    sealed = checkout.encrypt("a.yaml", "--encrypted-regex=^stringData$")
    value = re.findall(r"password: (.*)", sealed)[0]
    checkout.write({"b.yaml": f"{secret(value=f'{VALUE} {value}')}sops: {{mac: m}}\n"})

    assert linted() == ["error a.yaml:9 half-encrypted", "error b.yaml:7 half-encrypted"]


@pytest.mark.parametrize("form", ["yaml", "env", "ini"])
def test_encrypted_values_without_the_block_are_lost(checkout: Checkout, form: str) -> None:
    checkout.write({f"a.{form}": {"yaml": secret(), "env": "\nA=b\n", "ini": "[a]\nb=c\n"}[form]})
    text = checkout.encrypt(f"a.{form}", "--unencrypted-regex=^(kind|apiVersion|metadata)$")
    ends = {"yaml": "sops:\n", "env": "sops_age", "ini": "[sops]"}
    (checkout.folder / f"a.{form}").write_text(text[: text.index(ends[form])])

    line = {"yaml": 7, "env": 1, "ini": 2}[form]
    assert linted() == [f"error a.{form}:{line} lost-block"]


@pytest.mark.parametrize(("place", "line"), [("items", 4), ("metadata", 3)])
def test_a_block_that_stands_within_an_object_is_misplaced(checkout: Checkout, place: str, line: int) -> None:
    checkout.write({"a.yaml": secret()})
    text = checkout.encrypt("a.yaml")
    body, block = text[: text.index("sops:")], text[text.index("sops:") :]
    if place == "items":
        whole = "apiVersion: v1\nkind: List\nitems:\n- " + text.replace("\n", "\n  ").rstrip() + "\n"
    else:
        whole = body.replace("metadata:\n", "metadata:\n" + "".join(f"    {each}\n" for each in block.splitlines()))
    (checkout.folder / "a.yaml").write_text(whole)

    number = whole.splitlines().index(("  " if place == "items" else "    ") + "sops:") + 1
    assert linted() == [f"error a.yaml:{number} misplaced-block"]


def test_what_shall_stay_encrypted_is_left_alone(checkout: Checkout) -> None:
    checkout.write({"a.yaml": secret(more="  annotations: {kustomize.toolkit.fluxcd.io/decrypt: disabled}\n")})
    text = checkout.encrypt("a.yaml")
    (checkout.folder / "b.yaml").write_text(text[: text.index("sops:")])

    assert linted() == []


def test_an_encrypted_file_is_no_file_for_a_config_map(checkout: Checkout) -> None:
    checkout.write(
        {
            "kustomization.yaml": kustomization("configMapGenerator:\n- name: a\n  files:\n  - x=app.json\n"),
            "app.json": '{"a": "b"}',
        }
    )
    checkout.encrypt("app.json", "--unencrypted-suffix=_plain")

    assert linted() == ["error kustomization.yaml:6 encrypted-configmap"]


def test_a_copy_for_another_object_is_an_error_and_one_for_the_same_a_warning(checkout: Checkout) -> None:
    checkout.write({"a.yaml": secret("a")})
    text = checkout.encrypt("a.yaml", "--mac-only-encrypted", "--encrypted-regex=^stringData$")
    checkout.write({"b.yaml": text.replace("name: a", "name: b"), "c.yaml": text})
    own = text[: text.index("\nsops:")].replace("name: a", "name: d")
    checkout.write({"d.yaml": f"{own}\n{text[text.index('sops:') :]}---\n{text.replace('name: a', 'name: e')}"})

    shown = called()

    assert (
        "error: b.yaml:1: Secret/shop/b holds what was encrypted for Secret/shop/a in a.yaml:1 [copied]" in shown.stdout
    )
    assert "Secret/shop/e holds what was encrypted for Secret/shop/d in line 1 [copied]" in shown.stdout
    assert "warning: c.yaml:1: Secret/shop/a stands in a.yaml:1 too: " in shown.stdout


# what .sops.yaml says


def test_a_file_that_a_rule_names_and_that_is_not_encrypted_is_an_error(checkout: Checkout) -> None:
    checkout.write(
        {
            ".sops.yaml": rules(
                checkout, r"path_regex: (^|/)secrets/|\.enc\.json$", "encrypted_regex: ^(data|password)$"
            )
            + f"  - path_regex: .*\\.yaml\n    age: {checkout.keys.recipients[0]}\n",
            "a/secrets/values.yaml": "web:\n  password: x\n",
            "a/secrets/other.yaml": "web:\n  user: x\n",
            "a/secrets/kustomization.yaml": "resources: [map.yaml]\ncommonLabels: {data: x}\n",
            "a/secrets/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n",
            "a/secrets/sealed.yaml": "password: x\n",
            "x.enc.json": '{"password": 1}',
            "values.yaml": "password: x\n",
        }
    )
    checkout.encrypt("a/secrets/sealed.yaml", "--encrypted-regex=^password$")

    assert linted() == ["error a/secrets/values.yaml:1 unencrypted", "error x.enc.json:1 unencrypted"]


def test_a_file_that_is_for_others_than_its_rule_says_needs_updatekeys_and_is_clean_then(checkout: Checkout) -> None:
    first, second = checkout.keys.recipients
    checkout.write({"prod/a.yaml": secret(), "prod/b.env": "A=b\n", "prod/.sops.yaml": rules(checkout, who=1)})
    for name in ("prod/a.yaml", "prod/b.env"):
        checkout.encrypt(name)

    shown = called()
    assert f"rule 1 of prod/.sops.yaml is for others: {first} can decrypt it still, and {second} cannot" in shown.stdout
    assert linted() == ["error prod/a.yaml:1 recipients", "error prod/b.env:1 recipients"]

    (checkout.folder / "key").write_text(checkout.keys.identity)
    environment = {"SOPS_AGE_KEY_FILE": str(checkout.folder / "key"), "HOME": str(checkout.folder)}
    for name in ("a.yaml", "b.env"):
        command = [str(program("sops")), "updatekeys", "--yes", name]
        subprocess.run(command, cwd=checkout.folder / "prod", env=environment, check=True, capture_output=True)
    (checkout.folder / "key").unlink()
    assert linted() == []


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["path_regex: ("], 3),
        (["path_regexp: x"], 3),
        (["encrypted_regex: '['"], 3),
        (["encrypted_regex: a", "unencrypted_suffix: b"], 2),
        (["key_groups: 3"], 3),
        (["key_groups: [{agee: [x]}]"], 3),
        (["kms: {a: b}"], 3),
    ],
)
def test_a_rule_that_sops_refuses_or_passes_over_is_an_error(checkout: Checkout, lines: list[str], line: int) -> None:
    checkout.write({".sops.yaml": rules(checkout, *lines)})

    assert f"error .sops.yaml:{line} sops-config" in linted()


@pytest.mark.parametrize(
    "text", ["a: [", "- a", "creation_rule: []", "creation_rules: x", "creation_rules: [{}]", "creation_rules: [3]"]
)
def test_a_config_that_is_none_is_an_error(checkout: Checkout, text: str) -> None:
    checkout.write({".sops.yaml": text})

    assert linted() == ["error .sops.yaml:1 sops-config"]


def test_a_rule_that_never_counts_and_a_config_that_sops_does_not_read_are_warnings(checkout: Checkout) -> None:
    text = rules(checkout)
    checkout.write({".sops.yaml": text + text.partition("\n")[2], "a/.sops.yml": text})

    assert linted() == ["warning .sops.yaml:3 sops-config", "warning a/.sops.yml:1 sops-config"]
    assert called("--strict").exit_code == 1


# private keys


def make_pem(password: bytes = b"") -> str:
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked).decode()


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_private_keys_are_errors_as_text_and_in_base64(checkout: Checkout) -> None:
    pem = make_pem()
    checkout.write(
        {
            "a.agekey": f"# created today\n{checkout.keys.identity}\n",
            "b.key": pem,
            "c.json": json.dumps({"private_key": pem}),
            "d.key": make_pem(b"open sesame"),
            "kubeconfig": f"users:\n- user:\n    client-key-data: {encode(pem)}\n",
            "e.yaml": f"kind: Any\na: {encode(' ' + checkout.keys.identity)}\n",
            "f.yaml": f"kind: Any\na: {encode('# ' + checkout.keys.identity)}\n",
            "words.md": "`-----BEGIN PRIVATE KEY-----` and AGE-SECRET-KEY-1... are how they begin\n",
            "certificate.pem": pem.replace("PRIVATE KEY", "CERTIFICATE"),
        }
    )

    assert linted() == [
        "error a.agekey:2 private-key",
        "error b.key:1 private-key",
        "error c.json:1 private-key",
        "error e.yaml:2 private-key",
        "error f.yaml:2 private-key",
        "error kubeconfig:3 private-key",
        "warning d.key:1 private-key",
    ]
    assert checkout.keys.identity not in called().output


def test_a_key_in_a_secret_is_told_as_both(checkout: Checkout) -> None:
    checkout.write({"a.yaml": secret(value=checkout.keys.identity)})

    assert linted() == ["error a.yaml:7 plain-secret", "error a.yaml:7 private-key"]


# what people allow


def test_a_comment_in_the_line_or_alone_above_it_allows_a_finding_by_its_rule(checkout: Checkout) -> None:
    checkout.write(
        {
            "a.yaml": secret(value=f"{VALUE}  # sealoop:allow plain-secret: of a test"),
            "b.yaml": secret().replace("  password", "  # sealoop:allow private-key, plain-secret\n  password"),
            "c.yaml": secret(value=f"{VALUE}  # sealoop:allow private-key"),
            "d.yaml": secret(more="  annotations: {sealoop.dev/lint-allow: 'weak-mac, plain-secret'}\n"),
            "e.yaml": "a: 1  # sealoop:allow plain-secrets\n",
        }
    )

    assert linted() == [
        "error c.yaml:7 plain-secret",
        "warning b.yaml:7 unused-allow",
        "warning c.yaml:7 unused-allow",
        "warning e.yaml:1 unused-allow",
    ]


def test_a_generator_is_allowed_where_it_names_the_file(checkout: Checkout) -> None:
    text = "secretGenerator:\n- name: a\n  files:\n  - known_hosts  # sealoop:allow plain-generator\n"
    checkout.write({"kustomization.yaml": kustomization(text), "known_hosts": "github.com ssh-ed25519 AAAA\n"})

    assert linted() == []
    assert linted("known_hosts") == []
    assert linted("kustomization.yaml") == []


# what is looked at


def test_ignored_files_links_and_other_repositories_are_not_looked_at(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text(secret())
    checkout.write({".gitignore": "*.dec.yaml\n", "a.dec.yaml": secret(), "nested/a.yaml": secret()})
    checkout.write({"forced.dec.yaml": secret(), "gone.yaml": secret(), "linked/a.yaml": secret()})
    checkout.git("init", "-q", "nested")
    checkout.git("add", "-f", "forced.dec.yaml", "gone.yaml", "linked")
    (checkout.folder / "gone.yaml").unlink()
    (checkout.folder / "linked" / "a.yaml").unlink()
    (checkout.folder / "linked").rmdir()
    (checkout.folder / "linked").symlink_to(checkout.folder / "nested")
    (checkout.folder / "link.yaml").symlink_to(tmp_path / "outside.yaml")

    assert linted() == ["error forced.dec.yaml:7 plain-secret"]
    assert linted("--exclude", "forced*") == []
    assert linted("nested") == ["error nested/a.yaml:7 plain-secret"]
    assert linted("a.dec.yaml") == ["error a.dec.yaml:7 plain-secret"]


def test_what_git_runs_for_its_owner_is_not_run(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "hook").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "hook").chmod(0o755)
    checkout.write({"a.yaml": secret()})
    checkout.git("config", "core.fsmonitor", str(tmp_path / "hook"))
    checkout.git("config", "core.pager", str(tmp_path / "hook"))

    assert linted() == ["error a.yaml:7 plain-secret"]
    assert not (tmp_path / "ran").exists()


def test_without_git_all_files_are_looked_at(checkout: Checkout) -> None:
    checkout.write({".git/HEAD": "nonsense", ".gitignore": "*.yaml\n", "a.yaml": secret()})

    shown = called()

    assert "note: all files of" in shown.stderr
    assert "a.yaml:7" in shown.stdout


def test_a_folder_or_a_file_is_looked_at_with_the_rules_of_the_whole_checkout(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.write(
        {
            ".sops.yaml": rules(checkout, who=1),
            "apps/a.yaml": secret(),
            "apps/b.yaml": secret(),
            "base/c.txt": VALUE,
            "base/d.yaml": secret(),
            "apps/kustomization.yaml": kustomization("secretGenerator: [{name: x, files: [../base/c.txt]}]\n"),
        }
    )
    checkout.encrypt("apps/a.yaml")

    expected = [
        "error apps/a.yaml:1 recipients",
        "error apps/b.yaml:7 plain-secret",
        "error apps/kustomization.yaml:3 plain-generator",
    ]
    assert linted("apps") == expected
    assert linted("apps/a.yaml") == expected[:1]
    assert linted("base/c.txt") == expected[2:]
    monkeypatch.chdir(checkout.folder / "apps")
    assert linted("b.yaml") == ["error b.yaml:7 plain-secret"]
    assert linted("../base/d.yaml") == ["error ../base/d.yaml:7 plain-secret"]


def test_manifests_on_standard_input_are_looked_at(checkout: Checkout) -> None:
    shown = called("-", stdin=secret())

    assert shown.exit_code == 1
    assert shown.stdout.startswith("error: -:7: Secret/shop/db can be read by everybody: password; ")
    assert called("-", stdin="").exit_code == 0


@pytest.mark.parametrize("words", [["nowhere"], ["-", "."], ["--timeout", "0"], ["-o", "xml"], ["/dev/null"]])
def test_wrong_usage_has_an_exit_code_of_its_own(checkout: Checkout, words: list[str]) -> None:
    assert called(*words).exit_code == 2


def test_findings_are_json_for_machines(checkout: Checkout) -> None:
    checkout.write({"a\x1b.yaml": secret()})

    (found,) = json.loads(called("-o", "json").stdout)

    assert found.keys() == {"path", "line", "severity", "rule", "message"}
    assert (found["path"], found["line"], found["severity"], found["rule"]) == (
        "a\x1b.yaml",
        7,
        "error",
        "plain-secret",
    )
    assert "\x1b" not in called().stdout
    assert json.loads(called("-o", "json", "--exclude", "a*").stdout) == []
