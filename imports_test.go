package opkit_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/opkit/opkit"

// floors of the packages of the root module. A package may import only packages
// on floors below its own.
var floors = map[string]int{
	"": 7,

	"authorize": 6,
	"dcr":       6,

	"token": 5,

	"connection":          4,
	"internal/clientauth": 4,

	"tenant":         3,
	"tenant/console": 2, // which knows the management API alone

	"authorize/lock":      2,
	"internal/management": 2,
	"internal/ratelimit":  2,
	"storetest":           2,
	"store/memstore":      2,
	"store/sqlstore":      2,
	"store/cachestore":    2,

	"audit":          1,
	"store":          1,
	"internal/oauth": 1,
	"internal/httpx": 1,
	"internal/seal":  1,
}

// storesOnly are packages that know nothing of the protocol: whoever writes a
// store reads them and finds package store only.
var storesOnly = []string{"storetest", "store/memstore", "store/sqlstore", "store/cachestore"}

// testsMay are packages that every test may import, whatever its floor.
var testsMay = []string{"store/memstore", "storetest"}

// golden are the modules that the root module may require.
var golden = map[string]string{
	"github.com/go-jose/go-jose/v4": "v4.1.8",
	"github.com/google/go-cmp":      "v0.7.0", // tests and storetest only
	"github.com/google/uuid":        "v1.6.0",
	"golang.org/x/crypto":           "v0.58.0",
	"golang.org/x/oauth2":           "v0.37.0",
	"golang.org/x/sys":              "v0.49.0", // of x/crypto
	"golang.org/x/time":             "v0.16.0",
}

// nested are the other modules of the repository. Drivers, clients and browsers
// are their requirements, never the root's.
var nested = []string{"examples", "store/redisstore", "store/sqlstore/sqltest"}

func TestImportsGoDownwards(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range goFiles(t, ".") {
		dir := packageOf(f.path)
		floor, ok := floors[dir]
		if !ok {
			t.Errorf("%s: package %q has no floor; decide on which one it stands", f.path, dir)
			continue
		}
		seen[dir] = true
		for _, imported := range f.imports {
			target, ours := inModule(imported)
			switch {
			case !ours:
			case f.test && (target == dir || slices.Contains(testsMay, target)):
			case floors[target] == 0:
				t.Errorf("%s imports %s, which has no floor", f.path, imported)
			case slices.Contains(storesOnly, dir) && target != "store":
				t.Errorf("%s imports %s: of opkit, stores know package store only", f.path, imported)
			case floors[target] >= floor:
				t.Errorf("%s on floor %d imports %s on floor %d", f.path, floor, imported, floors[target])
			}
		}
	}
	for dir := range floors {
		if !seen[dir] {
			t.Errorf("package %q has a floor but no files", dir)
		}
	}
}

func TestStoreImportsTheStandardLibraryOnly(t *testing.T) {
	for _, f := range goFiles(t, "store") {
		if packageOf(f.path) != "store" || f.test {
			continue
		}
		for _, imported := range f.imports {
			if strings.Contains(strings.Split(imported, "/")[0], ".") {
				t.Errorf("%s imports %s", f.path, imported)
			}
		}
	}
}

func TestDependenciesAreTheGoldenOnes(t *testing.T) {
	for _, r := range readMod(t, ".").Require {
		if golden[r.Path] != r.Version {
			t.Errorf("go.mod requires %s %s; the golden list has %q", r.Path, r.Version, golden[r.Path])
		}
	}
	for _, f := range goFiles(t, ".") {
		for _, imported := range f.imports {
			if !strings.Contains(strings.Split(imported, "/")[0], ".") {
				continue
			}
			if _, ours := inModule(imported); ours {
				continue
			}
			if !slices.ContainsFunc(slices.Collect(maps.Keys(golden)), func(m string) bool { return within(imported, m) }) {
				t.Errorf("%s imports %s, which belongs to none of the golden modules", f.path, imported)
			}
			if within(imported, "github.com/google/go-cmp") && !f.test && packageOf(f.path) != "storetest" {
				t.Errorf("%s imports %s outside of a test", f.path, imported)
			}
		}
	}
}

func TestEveryModuleIsKnownAndUsesThisCheckout(t *testing.T) {
	var found []string
	walk(t, ".", func(p string, d fs.DirEntry) {
		if d.Name() == "go.mod" && p != "go.mod" {
			found = append(found, path.Dir(p))
		}
	})
	slices.Sort(found)
	if diff := cmp.Diff(nested, found); diff != "" {
		t.Fatalf("nested modules (-known +found):\n%s", diff)
	}
	work, err := os.ReadFile("go.work")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range nested {
		if !slices.Contains(strings.Fields(string(work)), "./"+dir) {
			t.Errorf("go.work does not use ./%s", dir)
		}
		m := readMod(t, dir)
		if m.Module.Path != module+"/"+dir {
			t.Errorf("%s/go.mod: module %s", dir, m.Module.Path)
		}
		replaced := slices.ContainsFunc(m.Replace, func(r replacement) bool {
			return r.Old.Path == module && path.Join(dir, r.New.Path) == "."
		})
		if !replaced {
			t.Errorf("%s/go.mod does not replace %s by this checkout", dir, module)
		}
	}
}

type goFile struct {
	path    string
	test    bool
	imports []string
	doc     *ast.CommentGroup
	pkg     string
}

// goFiles parses the Go files below root that belong to the module of root.
func goFiles(t *testing.T, root string) []goFile {
	t.Helper()
	var files []goFile
	walk(t, root, func(p string, d fs.DirEntry) {
		if path.Ext(p) != ".go" || root == "." && slices.ContainsFunc(nested, func(m string) bool { return within(p, m) }) {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		f := goFile{path: p, test: strings.HasSuffix(p, "_test.go"), doc: parsed.Doc, pkg: parsed.Name.Name}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
	})
	if len(files) == 0 {
		t.Fatalf("no Go files below %s", root)
	}
	return files
}

// walk visits the files of the checkout, with slashes in their names.
func walk(t *testing.T, root string, visit func(p string, d fs.DirEntry)) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case !d.IsDir():
			visit(filepath.ToSlash(p), d)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

type replacement struct {
	Old, New struct{ Path string }
}

type modFile struct {
	Module  struct{ Path string }
	Require []struct{ Path, Version string }
	Replace []replacement
}

func readMod(t *testing.T, dir string) modFile {
	t.Helper()
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod edit in %s: %v", dir, err)
	}
	var m modFile
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// packageOf returns the directory of a file, empty for the root.
func packageOf(file string) string {
	if dir := path.Dir(file); dir != "." {
		return dir
	}
	return ""
}

// inModule returns the directory of an imported package of the root module.
func inModule(imported string) (string, bool) {
	if imported == module {
		return "", true
	}
	return strings.CutPrefix(imported, module+"/")
}

func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }
