package opkit_test

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines of a file that is not a test. Longer ones hold two features.
const maxLines = 500

func TestFilesAreShortAndNamedAfterWhatIsInThem(t *testing.T) {
	nameless := []string{"util", "utils", "helper", "helpers", "common", "misc", "types"}
	walk(t, ".", func(p string, d fs.DirEntry) {
		base, isGo := strings.CutSuffix(path.Base(p), ".go")
		if !isGo {
			return
		}
		if slices.Contains(nameless, strings.TrimSuffix(base, "_test")) {
			t.Errorf("%s: the name says nothing", p)
		}
		if n := bytes.Count(read(t, p), []byte("\n")); n > maxLines && !strings.HasSuffix(p, "_test.go") {
			t.Errorf("%s has %d lines, more than %d: split it by feature", p, n, maxLines)
		}
	})
}

func TestEveryPackageIsDocumentedInDocGo(t *testing.T) {
	documented := map[string]bool{}
	for _, dir := range append([]string{"."}, nested...) {
		for _, f := range goFiles(t, dir) {
			p := packageOf(f.path)
			if path.Base(f.path) == "doc.go" {
				documented[p] = f.doc != nil && len(f.doc.Text()) > 40
			} else if !f.test {
				if _, seen := documented[p]; !seen {
					documented[p] = false // until its doc.go is seen
				}
				if f.doc != nil && strings.HasPrefix(f.doc.Text(), "Package ") {
					t.Errorf("%s documents its package; that belongs into doc.go", f.path)
				}
			}
		}
	}
	for p, ok := range documented {
		if !ok {
			t.Errorf("package %q has no doc.go that says what it is for", p)
		}
	}
}

// What must not be in the repository: places on somebody's machine, unfinished
// work, notices of other copyright holders. The patterns are written so that
// they do not match themselves.
var unwanted = map[string]*regexp.Regexp{
	"a path of somebody's machine": regexp.MustCompile(`/(?:wor[k]|hom[e]/[a-z]+|roo[t]|User[s]/[a-z]+)/[\w.]|\.\./share[d]\b`),
	"the number of an issue":       regexp.MustCompile(`(?i)\bissue #?[0-9]+\b|\bfixe[s] #[0-9]+`),
	"unfinished work":              regexp.MustCompile(`\b(?:TOD[O]|FIXM[E]|HAC[K]|XX[X])\b|panic\("not buil[t]"\)`),
	"a copyright notice":           regexp.MustCompile(`(?i)\bcopyrigh[t] (?:\(c\)|©|[0-9]{4})`),
}

func TestNothingUnwantedIsCheckedIn(t *testing.T) {
	walk(t, ".", func(p string, d fs.DirEntry) {
		switch path.Ext(p) {
		case ".go", ".md", ".html", ".css", ".js", ".sql", ".txt", "":
		default:
			return
		}
		if p == "LICENSE" || d.Type() != 0 {
			return
		}
		text := read(t, p)
		for what, pattern := range unwanted {
			if at := pattern.FindIndex(text); at != nil {
				t.Errorf("%s:%d: %s: %q", p, 1+bytes.Count(text[:at[0]], []byte("\n")), what, text[at[0]:at[1]])
			}
		}
	})
}

func TestLicense(t *testing.T) {
	license := string(read(t, "LICENSE"))
	for _, line := range []string{"Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS"} {
		if !strings.Contains(license, line) {
			t.Errorf("LICENSE lacks %q", line)
		}
	}
}

func read(t *testing.T, p string) []byte {
	t.Helper()
	b, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
