package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// eventView is an entry of the log.
type eventView struct {
	Event    string    `json:"event"`
	Outcome  string    `json:"outcome"`
	Date     time.Time `json:"date"`
	ClientID string    `json:"client_id"`
	UserID   string    `json:"user_id"`
	IP       string    `json:"ip"`
	Details  struct {
		Subject string   `json:"subject"`
		Actor   string   `json:"actor"`
		Code    string   `json:"code"`
		Reasons []string `json:"reasons"`
	} `json:"details"`
}

// eventNames are how pages call what an event is about.
var eventNames = map[string]string{
	"client.registration":           "Registration",
	"client.document":               "Client metadata document",
	"client.creation":               "Application created",
	"client.update":                 "Application changed",
	"client.deletion":               "Application deleted",
	"client.read":                   "Registration read",
	"client.eviction":               "Application made room for others",
	"client.expiry":                 "Application expired",
	"client.secret_rotation":        "Client secret replaced",
	"initial_access_token.creation": "Initial access token created",
	"initial_access_token.use":      "Initial access token used",
	"initial_access_token.deletion": "Initial access token deleted",
	"user.sign_in":                  "Sign-in",
	"user.consent":                  "Consent",
	"user.accounts_linked":          "Accounts joined",
	"grant.revocation":              "Access removed by the user",
	"code.reuse":                    "Code used twice",
	"refresh_token.reuse":           "Refresh token used twice",
	"signing_key.rotation":          "Signing key published",
	"signing_key.revocation":        "Signing key revoked",
	"management.change":             "Administration",
}

// Name is how pages call the event.
func (e eventView) Name() string {
	if name, ok := eventNames[e.Event]; ok {
		return name
	}
	return e.Event
}

// Class is that of the outcome's tag.
func (e eventView) Class() string {
	switch e.Outcome {
	case "allowed", "reused":
		return "good"
	case "narrowed":
		return "warn"
	}
	return "bad"
}

// eventKinds are the lists that can be chosen, with the search of each.
var eventKinds = []struct{ Name, Text, query string }{
	{"", "All events", ""},
	{"sign-ins", "Sign-ins", "type:user.sign_in AND outcome:allowed"},
	{"refused-sign-ins", "Refused sign-ins", "type:user.sign_in AND outcome:refused"},
	{"registrations", "Registrations", "type:client.registration"},
	{"refused", "Everything refused", "outcome:refused"},
	{"consent", "Consent", "type:user.consent"},
	{"administration", "Administration", "type:management.change"},
}

type eventsPage struct {
	chart
	Events       []eventView
	Kinds        any
	Kind         string
	Client, User string
	Newer, Older string // addresses of pages
	MayReadApps  bool
}

// eventsPerPage is how many events a page has.
const eventsPerPage = 50

func (c *Console) events(v *visit) error {
	query := v.r.URL.Query()
	page := eventsPage{
		Kind: query.Get("kind"), Client: strings.TrimSpace(query.Get("client")), User: strings.TrimSpace(query.Get("user")),
		Kinds: eventKinds, MayReadApps: v.visitor.may("read:clients"),
	}
	var search []string
	known := false
	for _, kind := range eventKinds {
		if kind.Name == page.Kind {
			known = true
			if kind.query != "" {
				search = append(search, kind.query)
			}
		}
	}
	number, err := strconv.Atoi(query.Get("page"))
	if query.Get("page") == "" {
		number, err = 0, nil
	}
	if !known || err != nil || number < 0 {
		return &failure{http.StatusNotFound, "There is no such list."}
	}
	for _, filter := range []struct{ field, value string }{{"client_id", page.Client}, {"user_id", page.User}} {
		if strings.Contains(filter.value, `"`) {
			return &failure{http.StatusBadRequest, "Identifiers have no quotation marks."}
		}
		if filter.value != "" {
			search = append(search, filter.field+`:"`+filter.value+`"`)
		}
	}
	path := fmt.Sprintf("/logs?per_page=%d&page=%d&q=%s", eventsPerPage, number, url.QueryEscape(strings.Join(search, " AND ")))
	if err := v.call(http.MethodGet, path, nil, &page.Events); err != nil {
		return err
	}
	address := func(number int) string {
		return "/events?" + url.Values{"kind": {page.Kind}, "client": {page.Client}, "user": {page.User}, "page": {strconv.Itoa(number)}}.Encode()
	}
	if number > 0 {
		page.Newer = address(number - 1)
	}
	if len(page.Events) == eventsPerPage {
		page.Older = address(number + 1)
	}
	if number == 0 && page.Client == "" && page.User == "" {
		if err := v.call(http.MethodGet, "/stats/hourly", nil, &page.Hours); err != nil {
			return err
		}
		page.draw()
	}
	return v.render("events", http.StatusOK, "Events", &page)
}
