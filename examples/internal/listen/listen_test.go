package listen

import (
	"errors"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestOn(t *testing.T) {
	first, err := On("127.0.0.1:0", "-addr")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	addr := first.Addr().String()
	for want, l := range map[string]string{
		"another program listens on " + addr + "; choose an address with -addr": addr,
		"nonsense is not an address to listen on; -addr takes one like":         "nonsense",
	} {
		second, err := On(l, "-addr")
		if err == nil || second != nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", l, err)
		}
		if l == addr && !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("the cause is lost: %v", err)
		}
	}
}

// defaultAddress finds the address that a flag has by default.
var defaultAddress = regexp.MustCompile(`"(127\.0\.0\.1:[1-9][0-9]*|localhost:[1-9][0-9]*)"`)

// Examples can run side by side: none has the default address of another one.
func TestEachExampleHasItsOwnAddresses(t *testing.T) {
	files, err := filepath.Glob("../../*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	owners := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		if parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly); err != nil || parsed.Name.Name != "main" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		example := filepath.Base(filepath.Dir(file))
		for _, m := range defaultAddress.FindAllStringSubmatch(string(text), -1) {
			if owner := owners[m[1]]; owner != "" && owner != example {
				t.Errorf("%s and %s both have %s", owner, example, m[1])
			}
			owners[m[1]] = example
		}
	}
	if len(owners) < 7 {
		t.Errorf("only these were found: %v", owners)
	}
}
