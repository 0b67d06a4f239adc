#!/usr/bin/env python3
# ruff: noqa: E501, SIM905  # tables of templates, a line each
"""Write tests/golden/data/gotemplate.jsonl: templates by the thousand and what Go makes of them.

    python tools/build.py gotemplate && python tools/gotemplate/vectors.py

The first line holds the data that every template is given. The same seed gives the same templates.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from gitops_core.gotemplate.functions import BUILTINS, Function  # noqa: E402
from gitops_core.gotemplate.sprig import HERMETIC  # noqa: E402

FILE = ROOT / "tests" / "golden" / "data" / "gotemplate.jsonl"
PROGRAM = ROOT / ".tools" / "bin" / "gotemplate"

DATA: dict[str, Any] = {
    "name": "app", "n": 3, "neg": -7, "f": 1.5, "yes": True, "no": False, "nil": None, "empty": [], "e": "",
    "list": ["a", "b", "c"], "ints": [3, 1, 2], "mixed": [1, "x", None, 2.5, True, [1], {"k": "v"}],
    "map": {"z": 1, "a": 2, "m": {"x": "deep"}}, "deep": {"er": {"x": "bottom"}},
    "struct": {"$struct": {"Name": "n", "Count": 4, "Tags": ["x"], "Inner": {"$struct": {"A": 1}}}},
    "texts": {"$strings": {"k": "v", "a": "b"}}, "words": {"$strings": ["one", "two"]},
    "s": "Hello, Wörld <b>&'\"\\ \n\t\u0001 日本", "fl": [0.1, 1e21, 1e-7, 100000.0, 1234567.0],
}  # fmt: skip
VALUES = (
    '1 -5 0 1.5 1e6 1e-7 0.1 100000.0 1234567.0 1e21 "x" "héllo" "a\\x00b\\xff" true nil .list .map .mixed .struct '
    ".texts .words .nil .empty .s 'a' 'é' 0x1F (1|print) .fl \"\" .missing 1_000 0b101 0o17 017 .deep -0.0"
).split()
FORMS = (
    "{{ % }}", "{{ if % }}y{{else}}n{{end}}", "{{ with % }}{{.}}{{else}}n{{end}}", "{{ range % }}<{{.}}>{{else}}n{{end}}",
    "{{ range $x := % }}<{{$x}}>{{else}}n{{end}}", "{{ range $i, $x := % }}<{{$i}}{{$x}}>{{else}}n{{end}}",
    "{{ (%).foo }}", "{{ %.foo }}", "{{ $x := % }}{{ $x.foo.bar }}", "{{ with $x := % }}{{ .foo }}{{end}}",
    "{{ % 1 }}", "{{ 1 | % }}", '{{ template "x" % }}{{define "x"}}[{{.}}]{{end}}', "{{ print % % }}",
    '{{ println % "a" % 1 }}', "{{ range % }}{{ .foo }}{{ end }}", "{{ and % }}{{ or % 0 }}{{ and 1 % }}",
)  # fmt: skip
WRITTEN = (
    "", "plain", "a\n{{ if .x }}", "{{ end }}", "\n\n{{ nope 1 }}", "{{ $x }}", "{{ .a", "{{ /* x */ }}", "{{/* x", "a{{/* no */}}b",
    "a {{- /* no */ -}} b", "a \n {{- .n -}} \n b", '{{ "x }}', "{{ break }}", "{{ continue }}", "{{ }}", "{{ 1 | 2 }}",
    "{{ (.name }}", "{{ .name) }}", "{{ end x }}", "{{ else }}", "{{ if }}", "{{ range $x, $y, $z := .list }}{{end}}",
    "{{ range $x, 1 := .list }}{{end}}", "{{ $x, $y := 1 }}", "{{ $x := 1 }}{{ $x = 2 }}{{ $x }}", "{{ if 1 }}{{ $x := 1 }}{{ end }}{{ $x }}",
    "{{ range .list }}{{ if eq . `b` }}{{ break }}{{ end }}{{ . }}{{ end }}",
    "{{ range .list }}{{ if eq . `a` }}{{ continue }}{{ end }}{{ . }}{{ else }}x{{ end }}",
    "{{ define `x` }}1{{ end }}{{ define `x` }}2{{ end }}", "{{ define `x` }}{{ template `y` . }}{{ end }}{{ template `x` .map }}",
    "{{ define `x` }}({{ . }}){{ end }}{{ template `x` .n }}{{ template `x` }}", "{{ block `b` .deep }}{{ .er.x }}{{ end }}",
    "{{ define x }}{{ end }}", "{{ define `x` }}", "{{ template 1 }}", "{{ template `x` . . }}", "{{ block `b` }}{{ end }}",
    "{{ range .list }}{{ define `z` }}{{ break }}{{ end }}{{ end }}", "{{ if 0 }}a{{ else if .n }}b{{ else }}c{{ end }}",
    "{{ with 0 }}a{{ else with .n }}{{ . }}{{ else }}c{{ end }}", "{{ if 0 }}a{{ else with 1 }}b{{ end }}", "{{ if 1 }}{{ else }}{{ else }}{{ end }}",
    "{{ .list.x }}", "{{ .n.x.y }}", "{{ $.map.m.x }}", "{{ (index .mixed 6).k }}", "{{ nil }}", "{{ nil | print }}", "{{ print nil }}", "{{ nil.x }}",
    "{{ 08 }}", "{{ 1e }}", "{{ 0x }}", "{{ 1a }}", "{{ 99999999999999999999 }}", "{{ 18446744073709551615 }}", "{{ 'ab' }}", "{{ '' }}",
    "{{ '\\'' }}{{ '\\n' }}", '{{ "\\q" }}', '{{ "\\u00e9\\x41\\101" }}', "{{ `a\r\nb` }}", "{{ `a", "{{ 'a }}", "{{ .a.b.c }}", "{{ .. }}", "{{ .1 }}",
    "{{ . .n }}", "{{ @ }}", "{{ é }}", "{{ a.b }}", "{{ print.x }}", "{{ true.x }}", "{{ 1.x }}", '{{ "a".x }}', "{{ $.n }}{{ $ }}", "{{ : }}", "{{ $x : }}",
    "{{ .n | printf `%d %s` `x` }}", "{{ printf `%[2]d %[1]d` 1 2 }}", "{{ printf `%[3]d` 1 }}", "{{ printf `%*d|%-*d|%.*f` 5 1 4 2 2 1.5 }}",
    "{{ printf `%` }}", "{{ printf `%!` 1 }}", "{{ printf `%d` }}", "{{ printf `x` 1 nil `a` }}", "{{ printf `%[x]d` 1 }}", "{{ printf `%[1]*d` 3 }}",
    "{{ printf 1 }}", "{{ printf }}", "{{ len }}", "{{ len 1 2 }}", "{{ eq }}", "{{ eq 1 }}", "{{ index }}", "{{ index .map `m` `x` }}", "{{ index .texts `q` }}|",
    "{{ .texts.q }}", "{{ get .texts `k` }}", "{{ not }}", "{{ and }}", "{{ html `<a>` 1 }}", "{{ js `it's\n` }}", "{{ urlquery `a b&c` 1 }}", "{{ slice `abc` 1 2 }}",
    "a {{- 1 }}", "a {{-1 }}", "a {{ 1 -}}   \n b", "{{ 1 - }}", "{{- 1 -}}", "{{1 -}} x", "{{if true -}} x {{- end}}", "}}", "{{{ 1 }}", "{{ {1} }}",
    "{{ $x := list 1 2 }}{{ $y := append $x 3 }}{{ $x }}{{ $y }}", "{{ $d := dict `a` 1 }}{{ $_ := set $d `b` 2 }}{{ $d }}", "{{ range until 5 }}{{ . }}{{ end }}",
    "{{ `a,b` | splitList `,` | join `-` | upper | quote }}", "{{ (semver `1.2.3-rc.1`).Major }}", "{{ semverCompare `>=1.2 <2` `1.5.0` }}",
    "{{ (split `/` `a/b`)._1 }}", "{{ derivePassword 1 `long` `password` `user` `example.com` }}", "{{ fail `no` }}", "{{ dig `er` `x` `none` .deep }}",
    "{{ .name | sha256sum | trunc 8 }}", "{{ sha1sum `a` }}{{ sha512sum `a` }}{{ adler32sum `a` }}", "{{ hello }}", "{{ now }}", "{{ env `HOME` }}",
    "{{ regexReplaceAll `(o)(r)?` `foor` `<$1${2}$$>` }}", "{{ kebabcase `HTTPServerV2Alpha` }} {{ snakecase `aB c-D9e` }} {{ camelcase `a_b c` }}",
    "{{ toDate `2006-01-02` `2026-11-23` }} {{ toDate `2006-01-02` `2026-11-23` | unixEpoch }}", "{{ duration `3661` }}{{ durationRound `49h` }}",
    "{{ urlParse `https://u:p@h.io:80/p?q=1#f` | toJson }}", "{{ urlJoin (dict `scheme` `https` `host` `h` `path` `/a b`) }}",
    "{{ printf `%v %v` 1i 2.5i }}", "{{ 1i }}", "{{ 1+2i }}",
)  # fmt: skip
ARGUMENTS = {
    "string": (
        '"foo"~""~"Hello World foo_bar"~"a,b,c"~","~"o"~"l+"~"FooBar9Baz-qux"~"héllo Wörld"~.s~.name~"12"~"-3.50"~"a/b/../c.txt"'
        '~"https://u:p@h.io:80/p a?q=1#f"~"1.2.3-rc.1+b"~">=1.2"~"aGk="~"{\\"a\\":[1,2.5,null]}"~"1h30m"~" x  y "'
    ).split("~"),
    "int": ["0", "1", "3", "-1", "5", "8", "20", "-4"],
    "float64": ["0.5", "1.5"], "bool": ["true", "false"], "uint32": ["1"],
    "any": (
        '1~"foo"~""~nil~.list~.ints~.mixed~.map~.empty~1.5~true~.words~.texts~.s~.nil~-7~"12"~"0x1f"~"3.7"~"1.0"~.fl~1e10~.struct'
        "~.missing~(list 1 2 2 1)~(add 1 2)~.deep"
    ).split("~"),
    "map": ["(dict)", ".map", ".deep", '(dict "a" 1 "b" "x")', '(dict "a" (dict "x" 1) "z" 0)'],
    "value": VALUES,
}  # fmt: skip
PATTERNS = ['"[a-z]+"', '"o"', '"(l+)(o)?"', '"a*"', '""', '"("', '"^f"', '"\\\\b"', '"(?P<x>o)"']
RESULTS = (
    "{{ % }}",
    "{{ % }}",
    '{{ % | printf "%#v" }}',
    '{{ % | printf "%T %v" 1 }}',
    "{{ % | toJson }}",
    "{{ % | kindOf }}",
)
SKIPPED = frozenset(  # random, of private keys, of moments; errors of JSON whose words we do not follow
    "shuffle randInt bcrypt htpasswd genPrivateKey genCA genCAWithKey genSelfSignedCert genSelfSignedCertWithKey genSignedCert "
    "genSignedCertWithKey encryptAES ago decryptAES buildCustomCert toDate mustToDate mustDateModify must_date_modify unixEpoch "
    "derivePassword semver".split()
)


def templates(chance: random.Random) -> list[dict[str, Any]]:
    asked: list[dict[str, Any]] = [{"template": text} for text in WRITTEN]
    formats = [
        f"%{flags}{size}{verb}"
        for flags in ("", "+", "-", "#", " ", "0", "+ ", "-0", "#0", "+#")
        for size in ("", "1", "8", ".0", ".3", "8.3", "12.", "030.2")
        for verb in "vdsqxXtfeEgGTUcboOFwz"
    ]
    for value in VALUES:
        asked += [{"template": form.replace("%", value)} for form in FORMS]
        asked += [{"template": f'{{{{ printf "<{format}>" {value} }}}}'} for format in chance.sample(formats, 40)]
        asked += [
            {"template": form.replace("%", value), "plain": True} for form in ("{{ slice % }}", "{{ slice % 1 }}")
        ]
        asked += [{"template": form.replace("%", value), "missing": "error"} for form in ("{{ %.x }}", "{{ .map.q }}")]
        for name in BUILTINS:
            other = chance.choice(VALUES)
            asked += [{"template": f"{{{{ {name} {value} }}}}"}, {"template": f"{{{{ {name} {value} {other} }}}}"}]
    for name, function in sorted(HERMETIC.items()):
        if name not in SKIPPED:
            count = 6 * (1 + len(function.parameters))
            asked += [{"template": call(name, function, chance)} for _ in range(count)]
    return asked


def call(name: str, function: Function, chance: random.Random) -> str:
    kinds = list(function.parameters)
    if function.is_variadic:
        kinds[-1:] = kinds[-1:] * chance.choice([0, 1, 1, 2, 3])
    if chance.random() < 0.05:
        kinds = [*kinds, "any"] if chance.random() < 0.5 else kinds[:-1]
    given = [argument(kind, "egex" in name and not at, chance) for at, kind in enumerate(kinds)]
    text = " ".join([name, *given])
    if given and chance.random() < 0.3:
        text = f"{given[-1]} | " + " ".join([name, *given[:-1]])
    if name in ("keys", "values"):  # in no order there
        return f"{{{{ {text} | toStrings | sortAlpha }}}}"
    return chance.choice(RESULTS).replace("%", text, 1)


def argument(kind: str, is_pattern: bool, chance: random.Random) -> str:
    if chance.random() < 0.08:
        kind = "any"
    elif is_pattern:
        return chance.choice(PATTERNS)
    return chance.choice(ARGUMENTS[kind])


def answers(asked: list[dict[str, Any]], program: Path = PROGRAM) -> list[dict[str, str]]:
    """What Go makes of each template."""
    lines = "".join(json.dumps({**each, "data": DATA}) + "\n" for each in asked)
    done = subprocess.run([program], input=lines, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> None:
    asked = templates(random.Random(4))
    lines = [{"data": DATA}, *({**each, **answer} for each, answer in zip(asked, answers(asked), strict=True))]
    FILE.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    print(f"{len(asked)} templates in {FILE}")


if __name__ == "__main__":
    main()
