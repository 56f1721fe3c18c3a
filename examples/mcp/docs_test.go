package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// docs/mcp.md shows this program's own code.
func TestTheGuideShowsThisCode(t *testing.T) {
	guide, err := os.ReadFile("../../docs/mcp.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)<!-- examples/mcp/([a-z]+\\.go):[a-z]+ -->\n```go\n(.*?)```").FindAllStringSubmatch(string(guide), -1)
	if len(shown) != 4 || strings.Count(string(guide), "```go\n") != 4 {
		t.Errorf("%d pieces of code with their file, of %d", len(shown), strings.Count(string(guide), "```go\n"))
	}
	for _, piece := range shown {
		source, err := os.ReadFile(piece[1])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(source), piece[2]) {
			t.Errorf("%s does not have\n%s", piece[1], piece[2])
		}
	}
}
