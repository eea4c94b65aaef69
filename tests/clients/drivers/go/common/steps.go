// Package common is what the programs in Go share: the steps, the results' form, the lines.
package common

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Step is one of ../../steps.json.
type Step struct {
	Step   string          `json:"step"`
	Op     string          `json:"op"`
	Needs  string          `json:"needs"`
	Digest bool            `json:"digest"`
	Rows   int             `json:"rows"`
	Fetch  int             `json:"fetch"`
	RawSQL json.RawMessage `json:"sql"`
	Raw    json.RawMessage `json:"params"`
	SQL    string          `json:"-"`
	SQLs   []string        `json:"-"`
}

// Op does a step.
type Op func(*Step) any

// Large is the size of a large value.
var Large, _ = strconv.Atoi(os.Getenv("HSD_LARGE"))

// Must ends the program at what no step expects.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Digest is the first 16 digits of the SHA-256.
func Digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:16]
}

// Error is a step's result that is an error.
func Error(state string) any { return map[string]string{"error": state} }

// Value turns numbers of JSON into integers.
func Value(v any) any {
	if f, ok := v.(float64); ok {
		return int32(f)
	}
	return v
}

// Params is one list of parameters.
func (s *Step) Params() []any {
	var list []any
	Must(json.Unmarshal(s.Raw, &list))
	for i := range list {
		list[i] = Value(list[i])
	}
	return list
}

// Lists are the lists of parameters.
func (s *Step) Lists() [][]any {
	var lists [][]any
	Must(json.Unmarshal(s.Raw, &lists))
	for _, list := range lists {
		for i := range list {
			list[i] = Value(list[i])
		}
	}
	return lists
}

// Form brings rows into the script's form.
func (s *Step) Form(rows [][]*string) any {
	if rows == nil {
		rows = [][]*string{}
	}
	if !s.Digest {
		return rows
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		columns := make([]string, len(row))
		for k, c := range row {
			columns[k] = "\\N"
			if c != nil {
				columns[k] = *c
			}
		}
		lines[i] = strings.Join(columns, "\t")
	}
	return []string{strconv.Itoa(len(rows)), Digest(strings.Join(lines, "\n"))}
}

// Column is one value in the script's form.
func Column(v any) *string {
	text := ""
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		text = hex.EncodeToString(v)
	case [16]byte:
		text = hex.EncodeToString(v[:])
	case string:
		text = v
	default:
		text = fmt.Sprint(v)
	}
	return &text
}

// CopyLines is what copy_in sends.
func (s *Step) CopyLines() string {
	var b strings.Builder
	for i := 1; i <= s.Rows; i++ {
		fmt.Fprintf(&b, "%d\trow %d\n", i, i)
	}
	return b.String()
}

// Totals is the result of cursor.
func Totals(values []string) any {
	sum := 0
	for _, v := range values {
		n, err := strconv.Atoi(v)
		Must(err)
		sum += n
	}
	return []string{strconv.Itoa(len(values)), strconv.Itoa(sum)}
}

// Run does the steps that ops has; said is what a client's own statement holds.
func Run(file string, ops map[string]Op, said map[string]string) {
	raw, err := os.ReadFile(file)
	Must(err)
	var steps []*Step
	Must(json.Unmarshal(raw, &steps))
	only := os.Getenv("HSD_STEPS")
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for _, s := range steps {
		if ops[s.Op] == nil || (s.Needs != "" && ops[s.Needs] == nil) || (only != "" && !strings.Contains(","+only+",", ","+s.Step+",")) {
			continue
		}
		if json.Unmarshal(s.RawSQL, &s.SQL) != nil {
			Must(json.Unmarshal(s.RawSQL, &s.SQLs))
		}
		s.SQL = strings.ReplaceAll(s.SQL, "{large}", strconv.Itoa(Large))
		line := map[string]any{"step": s.Step, "result": ops[s.Op](s)}
		if text, ok := said[s.Step]; ok {
			line["said"] = text
		}
		Must(out.Encode(line))
	}
}
