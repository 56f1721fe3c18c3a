package opkit_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")
	link    = regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)

	headingLine = regexp.MustCompile(`(?m)^#+ (.*)$`)
	punctuation = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// The README's whole programs compile.
func TestReadmeProgramsCompile(t *testing.T) {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	programs := 0
	for _, block := range goBlock.FindAllStringSubmatch(string(read(t, "README.md")), -1) {
		if !strings.HasPrefix(block[1], "package main") {
			continue
		}
		programs++
		dir := t.TempDir()
		source, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
		if err := os.WriteFile(source, []byte(block[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		// The program is compiled as if it were in this checkout.
		text, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, "readme", "main.go"): source}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(overlay, text, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("go", "build", "-overlay", overlay, "-o", filepath.Join(dir, "program"), "./readme").CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s\n%s", err, out, block[1])
		}
	}
	if programs == 0 {
		t.Error("README.md has no whole program")
	}
}

// What the documents link to is there: the file, and the heading in it.
func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	err := filepath.WalkDir(".", func(document string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && document != "." || entry.Name() == "node_modules"):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(document) != ".md":
			return nil
		}
		for _, l := range link.FindAllStringSubmatch(string(read(t, document)), -1) {
			links++
			target := document
			if l[1] != "" {
				target = filepath.Join(filepath.Dir(document), l[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", document, l[1], err)
			} else if l[2] != "" && !slices.Contains(anchors(string(read(t, target))), l[2]) {
				t.Errorf("%s links to %s#%s: no such heading", document, l[1], l[2])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if links == 0 {
		t.Error("no document links to another")
	}
}

// anchors returns what the headings of a document are linked to as.
func anchors(text string) []string {
	var found []string
	for _, h := range headingLine.FindAllStringSubmatch(text, -1) {
		found = append(found, strings.ReplaceAll(punctuation.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return found
}
