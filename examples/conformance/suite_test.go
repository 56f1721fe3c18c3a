package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// browserEntry says what the suite's browser does at addresses that match.
type browserEntry struct {
	Match string `json:"match"`
	Tasks []struct {
		Match    string  `json:"match"`
		Commands [][]any `json:"commands"`
	} `json:"tasks"`
}

// The configuration is for the default flags, and what its browser looks for is on
// the built-in pages.
func TestConfigurationFitsTheProvider(t *testing.T) {
	base := "https://localhost:" + defaultAddr[strings.LastIndexByte(defaultAddr, ':')+1:]
	text, err := os.ReadFile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Server struct {
			DiscoveryURL string `json:"discoveryUrl"`
			LoginHint    string `json:"login_hint"`
		}
		Browser  []browserEntry
		Override map[string]struct{ Browser []browserEntry }
	}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	if config.Server.DiscoveryURL != base+"/.well-known/openid-configuration" || config.Server.LoginHint != defaultUser {
		t.Errorf("server: %+v", config.Server)
	}
	if len(config.Browser) == 0 || len(config.Override) == 0 {
		t.Fatal("the browser is told nothing")
	}

	pages := builtinPages(t)
	entries := config.Browser
	for _, override := range config.Override {
		entries = append(entries, override.Browser...)
	}
	for _, entry := range entries {
		// The one page of the suite that its browser has to wait on embeds the provider's.
		if strings.HasPrefix(entry.Match, "*/test/*/") && strings.HasSuffix(entry.Match, "session_verify") {
			continue
		}
		if !strings.HasPrefix(entry.Match, base+"/") {
			t.Errorf("%s is not at the provider", entry.Match)
		}
		for _, task := range entry.Tasks {
			if !strings.HasPrefix(task.Match, base+"/") && !strings.HasPrefix(task.Match, "*/test/*/") {
				t.Errorf("%s is neither at the provider nor at a client of the suite", task.Match)
			}
			for _, command := range task.Commands {
				checkCommand(t, pages, command)
			}
		}
	}
}

func checkCommand(t *testing.T, pages string, command []any) {
	t.Helper()
	name, by, what := command[0], command[1], command[2].(string)
	var want string
	switch {
	case what == "submission_complete": // on the suite's own page
		return
	case name == "wait" && by == "xpath":
		want = "<h1>" + command[4].(string) + "</h1>"
	case by == "id":
		want = `id="` + what + `"`
	case by == "css":
		_, class, _ := strings.Cut(what, ".")
		want = `class="` + class + `"`
	}
	if want == "" || !strings.Contains(pages, want) {
		t.Errorf("no built-in page has what %v looks for", command)
	}
	if value := map[any]string{"username": defaultUser, "password": defaultPassword}[what]; name == "text" && command[3] != value {
		t.Errorf("%v: want %s", command, value)
	}
}

func builtinPages(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../../authorize/pages/*.html")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// Each line is an argument of the suite's own scripts/run-test-plan.py, followed by
// its configuration.
func TestPlansAreReadable(t *testing.T) {
	form := regexp.MustCompile(`^[a-z0-9-]+-test-plan(\[[a-z_]+=[a-z_ ]+\])* (config\.json)$`)
	text, err := os.ReadFile("plans.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, line := range lines {
		if !form.MatchString(line) {
			t.Errorf("cannot be read: %s", line)
		}
	}
	if slices.Sort(lines); len(slices.Compact(lines)) != len(lines) {
		t.Error("a plan is there twice")
	}
}
