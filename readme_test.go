package opkit_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")
	link    = regexp.MustCompile(`\]\(([^)#:]+)\)`)
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

// What the documents link to is there.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, document := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/divergences.md", "docs/stores.md", "docs/writing-a-store.md"} {
		for _, l := range link.FindAllStringSubmatch(string(read(t, document)), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), l[1])); err != nil {
				t.Errorf("%s links to %s: %v", document, l[1], err)
			}
		}
	}
}
