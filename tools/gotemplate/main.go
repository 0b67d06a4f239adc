// Gotemplate renders templates as Flux's image-automation-controller does: text/template with sprig's hermetic
// functions. It reads JSON lines {template, data} and answers {output} or {error}, one line each, in their order;
// {"plain": true} leaves sprig out, {"missing": "error"} is the option missingkey.
//
// In data a JSON number without point and exponent is an int, any other a float64; {"$strings": {...}} is a
// map[string]string, {"$strings": [...]} a []string, and {"$struct": {...}} a struct with those fields.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

type question struct {
	Template string `json:"template"`
	Data     any    `json:"data"`
	Missing  string `json:"missing"`
	Plain    bool   `json:"plain"`
}

type answer struct {
	Output *string `json:"output,omitempty"`
	Error  string  `json:"error,omitempty"`
}

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		line, err := lines.ReadString('\n')
		if strings.TrimSpace(line) != "" {
			if encoder.Encode(render(line)) != nil {
				os.Exit(1)
			}
			if lines.Buffered() == 0 {
				out.Flush()
			}
		}
		if err != nil {
			return
		}
	}
}

func render(line string) (reply answer) {
	var asked question
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&asked); err != nil {
		return answer{Error: "question: " + err.Error()}
	}
	defer func() { // a method of fmt or reflect may panic outside of any function call
		if broken := recover(); broken != nil {
			reply = answer{Error: fmt.Sprintf("panic: %v", broken)}
		}
	}()
	parsed := template.New("t")
	if !asked.Plain {
		parsed = parsed.Funcs(sprig.HermeticTxtFuncMap())
	}
	if asked.Missing != "" {
		parsed = parsed.Option("missingkey=" + asked.Missing)
	}
	parsed, err := parsed.Parse(asked.Template)
	if err != nil {
		return answer{Error: err.Error()}
	}
	var text strings.Builder
	if err := parsed.Execute(&text, typed(asked.Data)); err != nil {
		return answer{Error: err.Error()}
	}
	output := text.String()
	return answer{Output: &output}
}

func typed(value any) any {
	switch value := value.(type) {
	case json.Number:
		if whole, err := strconv.ParseInt(value.String(), 10, 64); err == nil {
			return int(whole)
		}
		number, _ := value.Float64()
		return number
	case []any:
		for position := range value {
			value[position] = typed(value[position])
		}
	case map[string]any:
		if fields, ok := value["$struct"].(map[string]any); ok {
			return structure(fields)
		}
		switch strings := value["$strings"].(type) {
		case map[string]any:
			texts := map[string]string{}
			for key, text := range strings {
				texts[key] = text.(string)
			}
			return texts
		case []any:
			texts := []string{}
			for _, text := range strings {
				texts = append(texts, text.(string))
			}
			return texts
		}
		for key := range value {
			value[key] = typed(value[key])
		}
	}
	return value
}

func structure(values map[string]any) any {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	fields := make([]reflect.StructField, 0, len(names))
	inner := make([]any, 0, len(names))
	for _, name := range names {
		value := typed(values[name])
		inner = append(inner, value)
		kind := reflect.TypeOf(value)
		if value == nil {
			kind = reflect.TypeFor[any]()
		}
		fields = append(fields, reflect.StructField{Name: name, Type: kind})
	}
	made := reflect.New(reflect.StructOf(fields)).Elem()
	for position, value := range inner {
		if value != nil {
			made.Field(position).Set(reflect.ValueOf(value))
		}
	}
	return made.Interface()
}
