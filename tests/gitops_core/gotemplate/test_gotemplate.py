"""Templates give what Go's text/template gives."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.gotemplate import FieldMissing, GoList, GoMap, Limits, Struct, Template, TemplateError

DATA: dict[str, Any] = {
    "name": "app",
    "n": 3,
    "f": 1.5,
    "yes": True,
    "no": False,
    "list": ["a", "b"],
    "empty": [],
    "map": {"z": 1, "a": 2},
    "nil": None,
    "deep": {"er": {"x": "bottom"}},
    "struct": Struct("pkg.T", (("Name", "n"), ("", Struct("pkg.E", (("Inner", 1),)))), {"All": ["m"]}),
}


def render(template: str, **limits: int) -> str:
    return Template(template, limits=Limits(**limits)).render(DATA)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a{{/* no */}}b", "ab"),
        ("a {{- /* no */ -}} b", "ab"),
        ("{{ .name }}-{{.deep.er.x}}", "app-bottom"),
        ("a \n {{- .n -}} \n b", "a3b"),
        ("{{ .nothing }}{{ .nil }}", "<no value><no value>"),
        ("{{ .list }}{{ .map }}{{ .f }}{{ .yes }}", "[a b]map[a:2 z:1]1.5true"),
        ("{{ .struct }}{{ .struct.Inner }}{{ .struct.All }}", "{n {1}}1[m]"),
        ("{{ if .yes }}y{{ else }}n{{ end }}", "y"),
        ("{{ if .empty }}1{{ else if .no }}2{{ else if .n }}3{{ else }}4{{ end }}", "3"),
        ("{{ range .list }}<{{ . }}>{{ end }}", "<a><b>"),
        ("{{ range $i, $e := .list }}{{ $i }}{{ $e }}{{ $.n }} {{ end }}", "0a3 1b3 "),
        ("{{ range $k, $v := .map }}{{ $k }}={{ $v }};{{ end }}", "a=2;z=1;"),
        ("{{ range $v := .map }}{{ $v }}{{ end }}", "21"),
        ("{{ range .empty }}x{{ else }}none{{ end }}", "none"),
        ("{{ range .list }}{{ if eq . `b` }}{{ break }}{{ end }}{{ . }}{{ end }}", "a"),
        ("{{ range .list }}{{ if eq . `a` }}{{ continue }}{{ end }}{{ . }}{{ end }}", "b"),
        ("{{ with .deep.er }}{{ .x }}{{ $.n }}{{ end }}", "bottom3"),
        ("{{ with .nil }}x{{ else }}none{{ end }}", "none"),
        ("{{ $x := 1 }}{{ if .yes }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if .yes }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
        ("{{ .name | printf `%s-%d` | len }}", "16"),
        ('{{ printf "%q %5d|%-4s|%v" .name 42 "x" .list }}', '"app"    42|x   |[a b]'),
        ('{{ printf "%d" "x" }} {{ printf "%s" }} {{ printf "x" 1 }}', "%!d(string=x) %!s(MISSING) x%!(EXTRA int=1)"),
        ('{{ print 1 2 "a" "b" 3 }}', "1 2ab3"),
        ('{{ println "a" 1 }}', "a 1\n"),
        ("{{ len .list }}{{ len `é` }}{{ len .map }}", "222"),
        ("{{ index .list 1 }}{{ index .map `z` }}{{ index .deep `er` `x` }}", "b1bottom"),
        ("{{ eq 1 1 }}{{ eq .name `x` `app` }}{{ ne 1 2 }}{{ lt 1 2 }}{{ ge `b` `a` }}", "true" * 5),
        ("{{ and .yes .no }}{{ or .no .name }}{{ not .no }}{{ and 1 0 .nothing.x }}", "falseapptrue0"),
        ("{{ (index .list 0) }}{{ (.deep).er.x }}{{ len (print `a` `b`) }}", "abottom2"),
        ("{{ `raw \\n` }}{{ \"esc\\t\" }}{{ 'a' }}{{ 0x10 }}{{ 1e3 }}{{ -2 }}", "raw \\nesc\t9716" + "1000-2"),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{\n.name\n}}", "app"),
    ],
)
def test_a_template_gives_what_go_gives(template: str, text: str) -> None:
    assert render(template) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a\n{{ if .x }}", "unexpected EOF"),
        ("{{ end }}", "unexpected {{end}}"),
        ("\n\n{{ nope 1 }}", ':3: function "nope" not defined'),
        ("{{ $x }}", 'undefined variable "$x"'),
        ("{{ if .yes }}{{ $x := 1 }}{{ end }}{{ $x }}", 'undefined variable "$x"'),
        ("{{ .a", "unclosed action"),
        ("{{ /* x */ }}", 'unexpected "/" in command'),
        ("{{/* x", "unclosed comment"),
        ('{{ "x }}', "unterminated quoted string"),
        ("{{ break }}", "{{break}} outside {{range}}"),
        ("{{ template `x` }}", 'template "x" not defined'),
        ("{{ }}", "missing value for command"),
        ("{{ 1 | 2 }}", "non executable command in pipeline"),
        ("{{ (.name }}", "unclosed left paren"),
        ("{{ end x }}", 'unexpected "x" in end'),
        ("{{ .name.x }}", "can't evaluate field x in type interface {}"),
        ("{{ .nil.x }}", "nil pointer evaluating"),
        ("{{ .name 1 }}", "name is not a method but has arguments"),
        ("{{ index .list 7 }}", "error calling index: index out of range: 7"),
        ("{{ eq 1 `1` }}", "incompatible types for comparison"),
        ("{{ len 1 }}", "error calling len: len of type int"),
        ("{{ not }}", "wrong number of args for not: want 1 got 0"),
        ("{{ range .name }}{{ end }}", "range can't iterate over app"),
        ("{{ printf `%999999d %999999d` 1 1 }}", "more than 1048576 characters"),
        ("{{ if 1 }}" * 100 + "{{ end }}" * 100, "nested deeper than"),
        ("{{ " + "(" * 100 + "1" + ")" * 100 + " }}", "nested deeper than"),
    ],
)
def test_a_wrong_template_is_explained(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(template)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ .a", "template: t:1: unclosed action"),
        ("{{ .a\n", "template: t:2: unclosed action started at t:1"),
        ("x\n{{ .a\n\n", "template: t:4: unclosed action started at t:2"),
        ("{{ (.a", "template: t:1: unclosed action"),
    ],
)
def test_an_action_without_end_is_told_once(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(template, name="t")

    assert str(caught.value) == message


NAMED = Struct("main.NN", (("Namespace", "ns"), ("Name", "n")), {"String": "ns/n"})
PRINTED = {
    "A": NAMED,
    "L": GoList([NAMED], "main.NN"),
    "M": GoMap({"k": NAMED}, "map[string]main.NN"),
    "K": GoMap({NAMED: 1}, "map[main.NN]int"),
    "S": Struct("struct", (("X", NAMED), ("Y", 2))),
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ .A }}|{{ print .A }}|{{ println .A .A }}", "ns/n|ns/n|ns/n ns/n\n"),
        ('{{ printf "%s %v %+v %q %x" .A .A .A .A .A }}', 'ns/n ns/n ns/n "ns/n" 6e732f6e'),
        ('{{ printf "%#v %T" .A .A }}', 'main.NN{Namespace:"ns", Name:"n"} main.NN'),
        ('{{ printf "%d" .A }}', "{%!d(string=ns) %!d(string=n)}"),
        ("{{ .L }} {{ .M }} {{ .K }} {{ .S }}", "[ns/n] map[k:ns/n] map[ns/n:1] {ns/n 2}"),
        ('{{ printf "%s" .L }} {{ printf "%+v" .S }}', "[ns/n] {X:ns/n Y:2}"),
        ("{{ html .A }}|{{ js .A }}|{{ urlquery .A }}|{{ .A.String }}", "ns/n|ns/n|ns%2Fn|ns/n"),
        ('{{ .A | printf "%10s|" }}{{ range $k, $v := .K }}{{ $k }}{{ end }}', "      ns/n|ns/n"),
        ("{{ eq .A .A }} {{ .A.Name }}", "true n"),
    ],
)
def test_a_struct_that_says_how_it_is_printed_is_printed_so_wherever_it_stands(template: str, text: str) -> None:
    assert Template(template, name="t").render(PRINTED) == text


def test_errors_name_the_line() -> None:
    with pytest.raises(FieldMissing) as caught:
        render("1\n2\n{{ with .struct }}{{ .Missing }}{{ end }}")

    assert (caught.value.line, caught.value.field, caught.value.type_name) == (3, "Missing", "pkg.T")
    assert str(caught.value) == (
        'template: template:3:21: executing "template" at <.Missing>: can\'t evaluate field Missing in type pkg.T'
    )


@pytest.mark.parametrize(
    "template",
    [
        "{{ range 1000 }}{{ range 1000 }}{{ range 1000 }}x{{ end }}{{ end }}{{ end }}",
        "{{ range 2000000000 }}{{ end }}",
        "{{ $x := printf `%9999s` 1 }}{{ range 1000 }}{{ range 1000 }}{{ $y := print $x }}{{ end }}{{ end }}",
        "{{ $x := `aaaaaaaa` }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}{{ $x }}",
    ],
)
def test_a_hostile_template_ends(template: str) -> None:
    before = time.process_time()

    with pytest.raises(TemplateError, match="more than"):
        render(template)

    assert time.process_time() - before < 5


@given(st.text(alphabet='{}-. \n"`|():=,$abx1/*', max_size=40).map(lambda t: "{{" + t))
def test_any_text_renders_or_is_refused(template: str) -> None:
    try:
        Template(template, limits=Limits(steps=1000)).render(DATA)
    except TemplateError as error:
        assert error.line >= 1  # noqa: PT017  # either is right


@given(st.text(max_size=30).filter(lambda t: "{{" not in t))
def test_text_without_actions_is_kept(text: str) -> None:
    assert Template(text).render(None) == text
