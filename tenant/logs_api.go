package tenant

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
)

// LogsHandler serves the log of decisions to administrators:
//
//	GET /api/v2/logs              read:logs  200  the newest first; q, sort=date:1
//	GET /api/v2/logs?from=…&take= read:logs  200  the oldest first, after an entry
//	GET /api/v2/logs/{id}         read:logs  200
//
// With from or take every entry comes once and q does not count: programs copy the log in
// this way. They see an entry after ten seconds, when all nodes have written those that
// are older.
//
// The handler may be mounted under any path that ends in the wildcard {id} or, without
// wildcards, where the last segment is "logs" or the identifier.
func (d *Directory) LogsHandler() http.Handler {
	return management.Resource{
		Name: logCollection,
		Collection: management.Methods{http.MethodGet: d.guard.Require(ScopeReadLogs, d.listLogs).Describe(management.Doc{
			Summary: "List the log",
			Answer:  management.Paged(logCollection, "LogEntry", logView{}), Query: logParameters,
			Errors: []int{404},
		})},
		One: management.Methods{http.MethodGet: d.guard.Require(ScopeReadLogs, d.getLog).Describe(management.Doc{
			Summary: "Read a log entry",
			Answer:  management.Object("LogEntry", logView{}), Tagged: true, Errors: []int{404},
		})},
	}
}

// UserLogsHandler serves what the log has about a user (/api/v2/users/{id}/logs), like
// LogsHandler. It may be mounted under any path with the wildcard {id} or, without
// wildcards, where the identifier is the last segment but one.
func (d *Directory) UserLogsHandler() http.Handler {
	return management.Methods{http.MethodGet: d.guard.Require(ScopeReadLogs, func(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
		user, err := management.OwnerID(r)
		if err != nil {
			return err
		}
		return d.serveLogs(w, r, caller, user)
	}).Describe(management.Doc{
		Summary: "List what the log has about a user",
		Answer:  management.Paged(logCollection, "LogEntry", logView{}), Query: logParameters,
		Errors: []int{404},
	})}
}

// StatisticsHandler serves what happened in each of the last hours
// (/api/v2/stats/hourly), the oldest first, the hour that has begun included:
//
//	GET /api/v2/stats/hourly?hours=24   read:logs  200  hours: 1 to 168
func (d *Directory) StatisticsHandler() http.Handler {
	return management.Methods{http.MethodGet: d.guard.Require(ScopeReadLogs, d.hourly).Describe(management.Doc{
		Summary: "Count what happened in each of the last hours",
		Answer:  management.Array("Hour", hourView{}), Query: []management.Parameter{{Name: "hours"}},
		Errors: []int{404},
	})}
}

const logCollection = "logs"

var logParameters = []management.Parameter{{Name: "q"}, {Name: "search"}, {Name: "sort", Values: []string{"date:-1", "date:1"}}}

// logSettled is how old an entry is when no node will write an older one any more, but
// for one whose store did not answer.
const logSettled = 10 * time.Second

// logView is an entry on the wire. The first members are those that SDKs know.
type logView struct {
	ID           string     `json:"_id"`
	LogID        string     `json:"log_id"`
	Date         time.Time  `json:"date"`
	Type         string     `json:"type"`
	Description  string     `json:"description,omitempty"`
	ClientID     string     `json:"client_id,omitempty"`
	UserID       string     `json:"user_id,omitempty"`
	ConnectionID string     `json:"connection_id,omitempty"`
	IP           string     `json:"ip,omitempty"`
	Details      logDetails `json:"details"`
	// Event and Outcome are those of package audit.
	Event   string `json:"event"`
	Outcome string `json:"outcome"`
}

type logDetails struct {
	Subject string            `json:"subject,omitempty"`
	Actor   string            `json:"actor,omitempty"`
	Code    string            `json:"code,omitempty"`
	Reasons []string          `json:"reasons,omitempty"`
	Notes   map[string]string `json:"notes,omitempty"`
}

func viewLog(e *store.Event) logView {
	v := logView{
		ID: e.ID, LogID: e.ID, Date: e.Time, Type: logType(e), Event: e.Type, Outcome: e.Outcome,
		ClientID: e.ClientID, UserID: e.UserID, IP: e.Address, Description: strings.Join(e.Reasons, "; "),
		Details: logDetails{Subject: e.Subject, Actor: e.Actor, Code: e.Code, Reasons: e.Reasons, Notes: e.Notes},
	}
	if e.Type == string(audit.SignIn) {
		v.ConnectionID = e.Subject
	}
	return v
}

// logCodes are the codes that dashboards know, where one means what the event is. Other
// events go by their own type.
var logCodes = []struct {
	code string
	kind eventKind
}{
	{"s", eventKind{string(audit.SignIn), string(audit.Allowed)}},
	{"f", eventKind{string(audit.SignIn), string(audit.Refused)}},
	{"f", eventKind{string(audit.SignIn), string(audit.Failed)}},
	{"limit_wc", eventKind{string(audit.SignIn), string(audit.Limited)}},
	{"sapi", eventKind{string(audit.Management), string(audit.Allowed)}},
	{"feacft", eventKind{string(audit.CodeReuse), string(audit.Refused)}},
	{"ferrt", eventKind{string(audit.RefreshTokenReuse), string(audit.Refused)}},
}

func logType(e *store.Event) string {
	for i := range logCodes {
		if logCodes[i].kind.of(e) {
			return logCodes[i].code
		}
	}
	return e.Type
}

// kindsNamed returns what a type on the wire stands for, at least one.
func kindsNamed(name string) []eventKind {
	var kinds []eventKind
	for i := range logCodes {
		if logCodes[i].code == name {
			kinds = append(kinds, logCodes[i].kind)
		}
	}
	if len(kinds) == 0 {
		kinds = append(kinds, eventKind{what: name})
	}
	return kinds
}

var (
	errNoLog      = management.Errorf(http.StatusNotFound, "", "This provider keeps no log.")
	errNoLogEntry = management.Errorf(http.StatusNotFound, "", "The log entry does not exist.")
)

func (d *Directory) listLogs(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	return d.serveLogs(w, r, caller, "")
}

// serveLogs lists the log, or what it has about one user.
func (d *Directory) serveLogs(w http.ResponseWriter, r *http.Request, caller management.Caller, user string) error {
	events := d.cfg.Stores.Events
	if events == nil {
		return errNoLog
	}
	query := r.URL.Query()
	for _, name := range []string{"q", "search", "sort"} {
		if len(query[name]) > 1 {
			return management.InvalidQuery("%s appears more than once", name)
		}
	}
	now := d.now()
	list := management.List[store.Event]{
		Name: logCollection, Named: true,
		ID:   func(e *store.Event) string { return e.ID },
		View: func(e *store.Event) any { return viewLog(e) },
	}
	if query.Has("take") || query.Has("from") {
		list.Fetch = func(ctx context.Context, page store.Page) ([]store.Event, error) {
			part := store.EventPage{After: page.After, Before: store.EventPosition(now.Add(-logSettled)), Limit: page.Limit}
			return events.Events(ctx, caller.TenantID, store.EventFilter{UserID: user}, part, now)
		}
		return list.Serve(w, r)
	}
	// Both are names of the same parameter.
	q, err := parseLogQuery(strings.TrimSpace(query.Get("q") + " " + query.Get("search")))
	if err != nil {
		return err
	}
	switch {
	case user == "":
	case q.filter.UserID != "" && q.filter.UserID != user:
		return management.InvalidQuery("q: user_id is another than that of the path")
	default:
		q.filter.UserID = user
	}
	newest := true
	switch query.Get("sort") {
	case "", "date:-1":
	case "date:1":
		newest = false
	default:
		return management.InvalidQuery("sort must be date:1 or date:-1")
	}
	list.Fetch = func(ctx context.Context, page store.Page) ([]store.Event, error) {
		part := store.EventPage{After: q.from, Before: q.until, Newest: newest, Limit: page.Limit}
		switch {
		case page.After == "":
		case newest:
			part.Before = page.After
		default:
			part.After = page.After
		}
		return events.Events(ctx, caller.TenantID, q.filter, part, now)
	}
	if q.needsMatch() {
		list.Match = q.match
	}
	return list.Serve(w, r)
}

func (d *Directory) getLog(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	if d.cfg.Stores.Events == nil {
		return errNoLog
	}
	e, err := d.cfg.Stores.Events.Event(r.Context(), caller.TenantID, management.PathID(r, logCollection), d.now())
	if errors.Is(err, store.ErrNotFound) {
		return errNoLogEntry
	}
	if err != nil {
		return err
	}
	view := viewLog(&e)
	return management.WriteRecord(w, r, http.StatusOK, management.TagOf(0, view), view)
}

// hourView is what happened in one hour.
type hourView struct {
	Date          time.Time `json:"date"` // when it began
	Logins        int       `json:"logins"`
	FailedLogins  int       `json:"failed_logins"`
	Registrations int       `json:"registrations"`
}

// maxHours is a week.
const maxHours = 168

func (d *Directory) hourly(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	events := d.cfg.Stores.Events
	if events == nil {
		return errNoLog
	}
	hours, err := management.QueryNumber(r, "hours", 24, 1, maxHours)
	if err != nil {
		return err
	}
	now := d.now()
	from := now.UTC().Truncate(time.Hour).Add(-time.Duration(hours-1) * time.Hour)
	span := store.EventSpan{From: from, Step: time.Hour, Steps: hours}
	views := make([]hourView, hours)
	for i := range views {
		views[i].Date = from.Add(time.Duration(i) * time.Hour)
	}
	for _, c := range []struct {
		kind eventKind
		of   func(*hourView) *int
	}{
		{eventKind{string(audit.SignIn), string(audit.Allowed)}, func(v *hourView) *int { return &v.Logins }},
		{eventKind{string(audit.SignIn), string(audit.Refused)}, func(v *hourView) *int { return &v.FailedLogins }},
		{eventKind{string(audit.SignIn), string(audit.Limited)}, func(v *hourView) *int { return &v.FailedLogins }},
		{eventKind{string(audit.ClientRegistration), string(audit.Allowed)}, func(v *hourView) *int { return &v.Registrations }},
		{eventKind{string(audit.ClientRegistration), string(audit.Narrowed)}, func(v *hourView) *int { return &v.Registrations }},
	} {
		counts, err := events.CountEvents(r.Context(), caller.TenantID, store.EventFilter{Type: c.kind.what, Outcome: c.kind.outcome}, span, now)
		if err != nil {
			return err
		}
		for i, n := range counts {
			*c.of(&views[i]) += n
		}
	}
	httpx.WriteJSON(w, http.StatusOK, views)
	return nil
}
