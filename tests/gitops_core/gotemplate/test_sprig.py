"""sprig's functions end, whatever a stranger asks of them, and give the same each time."""

from __future__ import annotations

import time

import pytest

from gitops_core.gotemplate import Template, TemplateError
from gitops_core.gotemplate.sprig import HERMETIC


@pytest.mark.parametrize(
    "template",
    [
        "{{ repeat 1000000000 `x` }}",
        "{{ until 1000000000 }}",
        "{{ untilStep 0 1000000000 1 }}",
        "{{ seq 1000000000 }}",
        "{{ indent 1000000000 `x` }}",
        "{{ nindent 1000000 (repeat 100000 `\n`) }}",
        "{{ $x := repeat 1000000 `a` }}{{ replace `a` $x $x }}",
        "{{ $x := repeat 1000000 `a` }}{{ regexReplaceAll `a` $x $x }}",
        "{{ $x := repeat 1000000 `a` }}{{ regexReplaceAll `a(.*z)?` $x `b` }}",
        "{{ regexReplaceAll (repeat 500 `(a|b)*`) (repeat 99999 `ab`) `x` }}",
        "{{ regexMatch (repeat 500 `(a|b)*`) (repeat 99999 `ab`) }}",
        "{{ regexFind (repeat 500 `(a|b)*`) (repeat 99999 `ab`) }}",
        "{{ $x := repeat 1000000 `a ` }}{{ wrapWith 1 (repeat 1000 `x`) $x }}",
        "{{ $x := repeat 1000 `a` }}{{ join $x (until 100000) }}",
        "{{ $x := list 1 2 3 }}{{ range until 100 }}{{ $x = concat $x $x }}{{ end }}",
        "{{ $x := list 1 2 3 }}{{ range until 35 }}{{ $x = list $x $x }}{{ end }}{{ $x }}",
        "{{ $x := list 1 2 3 }}{{ range until 35 }}{{ $x = list $x $x }}{{ end }}{{ toJson $x }}",
        "{{ $x := list 1 2 3 }}{{ range until 35 }}{{ $x = list $x $x }}{{ end }}{{ deepEqual $x (deepCopy $x) }}",
        "{{ $d := dict }}{{ $_ := set $d `d` $d }}{{ $d }}",
        "{{ $d := dict }}{{ $_ := set $d `d` $d }}{{ toJson $d }}",
        "{{ define `x` }}{{ template `x` . }}{{ end }}{{ template `x` . }}",
        "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}",
    ],
)
def test_a_hostile_call_ends(template: str) -> None:
    before = time.process_time()

    with pytest.raises(TemplateError, match=r"more than|deeper|too long"):
        Template(template, HERMETIC).render({})

    assert time.process_time() - before < 5


@pytest.mark.parametrize(
    "name", ["shuffle `abc`", "randInt 1 5", "genPrivateKey `rsa`", "bcrypt `x`", "encryptAES `k` `x`"]
)
def test_a_random_function_is_refused_by_name(name: str) -> None:
    with pytest.raises(TemplateError, match=f"error calling {name.split()[0]}: .*another result each time"):
        Template(f"{{{{ {name} }}}}", HERMETIC).render({})


@pytest.mark.parametrize("name", ["now", "env `HOME`", "uuidv4", "date `x` 1", "getHostByName `x`", "randAlpha 3"])
def test_a_function_that_is_not_hermetic_is_unknown(name: str) -> None:
    with pytest.raises(TemplateError, match=f'function "{name.split()[0]}" not defined'):
        Template(f"{{{{ {name} }}}}", HERMETIC)


def test_keys_and_values_come_in_order() -> None:
    text = Template("{{ keys . }}{{ values . }}", HERMETIC).render({"b": 1, "c": 2, "a": 3})

    assert text == "[a b c][3 1 2]"


@pytest.mark.parametrize(
    ("template", "answer"),  # Go's
    [
        ("{{ atoi `9223372036854775808` }} {{ atoi `-99999999999999999999` }}", f"{2**63 - 1} {-(2**63)}"),
        ("{{ atoi `+5` }} {{ atoi `0007` }} {{ atoi `1_0` }} {{ atoi `9223372036854775808x` }}", "5 7 0 0"),
        ("{{ duration `9223372036854775808` }} {{ duration `-9223372036854775809` }}", "-1s 0s"),
        ("{{ duration `95` }} {{ duration `9s` }}", "1m35s 0s"),
    ],
)
def test_digits_beyond_64_bits_are_the_bound(template: str, answer: str) -> None:
    assert Template(template, HERMETIC).render({}) == answer
