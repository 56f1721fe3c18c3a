package smallstore

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const document = "../../docs/writing-a-store.md"

var block = regexp.MustCompile("(?s)```([a-z]*)\n(.*?)```")

// blocks returns those of a language; empty for none.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	var found []string
	for _, b := range block.FindAllStringSubmatch(read(t, document), -1) {
		if b[1] == language {
			found = append(found, b[2])
		}
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What the document shows is in the files that are compiled and tested, and all of the
// store and of its test is in the document.
func TestTheDocumentShowsThisStore(t *testing.T) {
	files := map[string]string{}
	for _, name := range []string{"tickets.go", "tickets_test.go", "naive_test.go"} {
		files[name] = read(t, name)
	}
	shown := map[string]string{} // by file
	for _, code := range blocks(t, "go") {
		found := false
		for name, text := range files {
			if strings.Contains(text, code) {
				found = true
				shown[name] += code
			}
		}
		if !found {
			t.Errorf("no file has this:\n%s", code)
		}
	}
	for _, name := range []string{"tickets.go", "tickets_test.go"} {
		for n, line := range strings.Split(files[name], "\n") {
			if strings.TrimSpace(line) != "" && !strings.Contains("\n"+shown[name], "\n"+line+"\n") {
				t.Errorf("%s:%d is not in the document: %s", name, n+1, line)
			}
		}
	}
}

// quoted returns what the document says that the kit says.
func quoted(t *testing.T) []string {
	t.Helper()
	var lines []string
	for _, output := range blocks(t, "") {
		if !strings.Contains(output, "--- FAIL") {
			continue
		}
		for line := range strings.Lines(output) {
			// Which round it is differs, and how long it takes.
			line, _, _ = strings.Cut(strings.TrimSpace(line), " (")
			line, _, _ = strings.Cut(line, ": round ")
			lines = append(lines, line)
		}
	}
	if len(lines) < 4 {
		t.Fatalf("the document quotes %q", lines)
	}
	return lines
}
