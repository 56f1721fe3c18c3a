package sqltest

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore"
	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
)

// tracer remembers every statement that ran, with the arguments of its first time.
type tracer struct {
	mu   sync.Mutex
	args map[string][]any
}

func (r *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	args := withoutOptions(data.Args)
	if _, seen := r.args[data.SQL]; !seen && len(args) > 0 {
		r.args[data.SQL] = args
	}
	return ctx
}

func (r *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// withoutOptions returns the arguments of a statement without what package stdlib
// asks of pgx beside them.
func withoutOptions(args []any) []any {
	if len(args) > 0 {
		if _, option := args[0].(pgx.QueryResultFormatsByOID); option {
			return args[1:]
		}
	}
	return args
}

// everyCall makes each call of each store on what populate stored.
func everyCall(ctx context.Context, s store.Stores) []error {
	now, later := populated, populatedUntil
	page := store.Page{After: nameOf("client", 7), Limit: 50}
	id := nameOf("new", 0)
	family := store.Family{TenantID: "t", ID: id, GrantID: nameOf("grant", 3), UserID: "u", ClientID: "c", SID: "s", ExpiresAt: later}
	ticket := store.Ticket{TenantID: "t", Kind: "par", ID: store.DigestOf(id), ExpiresAt: later}
	session := store.Session{TenantID: "t", ID: store.DigestOf(id), ExpiresAt: later}
	key := store.SigningKey{TenantID: nameOf("tenant", 0), ID: id, Algorithm: "ES256", Generation: 9}
	get := func(_ any, err error) error { return err }
	errs := []error{
		s.Tenants.CreateTenant(ctx, store.Tenant{ID: id}),
		get(s.Tenants.Tenant(ctx, id)),
		s.Tenants.UpdateTenant(ctx, store.Tenant{ID: id, Version: 1}),
		s.Tenants.UpdateTenant(ctx, store.Tenant{ID: id, Version: 7}), // a conflict, which is looked into
		get(s.Tenants.Tenants(ctx, page)),

		s.Connections.CreateConnection(ctx, store.Connection{TenantID: "t", ID: id, Name: id}),
		get(s.Connections.Connection(ctx, "t", id)),
		s.Connections.UpdateConnection(ctx, store.Connection{TenantID: "t", ID: id, Name: id + "x", Version: 1}),
		s.Connections.UpdateConnection(ctx, store.Connection{TenantID: "t", ID: id, Version: 7}),
		get(s.Connections.Connections(ctx, "t", page)),
		s.Connections.DeleteConnection(ctx, "t", id),

		s.Clients.CreateClient(ctx, store.Client{TenantID: "t", ID: id, Dynamic: true, CreatedAt: now}),
		get(s.Clients.Client(ctx, "t", id)),
		s.Clients.UpdateClient(ctx, store.Client{TenantID: "t", ID: id, Version: 1}),
		s.Clients.UpdateClient(ctx, store.Client{TenantID: "t", ID: id, Version: 7}),
		get(s.Clients.Clients(ctx, "t", page)),
		get(s.ClientSweeper.IdleClients(ctx, "t", store.IdleFilter{Before: now.Add(-time.Minute)},
			store.IdlePage{AfterTime: now.Add(-time.Hour), AfterID: "x", Limit: 50})),
		get(s.ClientSweeper.CountProvisional(ctx, "t")),
		get(s.ClientSweeper.RemoveClients(ctx, "t", []store.Client{{ID: id, Version: 2}})),
		s.Clients.DeleteClient(ctx, "t", id),

		s.APIs.CreateAPI(ctx, store.API{TenantID: "t", ID: id, Audience: id}),
		get(s.APIs.API(ctx, "t", id)),
		get(s.APIs.APIByAudience(ctx, "t", id)),
		s.APIs.UpdateAPI(ctx, store.API{TenantID: "t", ID: id, Version: 1}),
		s.APIs.UpdateAPI(ctx, store.API{TenantID: "t", ID: id, Version: 7}),
		get(s.APIs.APIs(ctx, "t", page)),
		s.APIs.DeleteAPI(ctx, "t", id),

		s.ClientGrants.CreateClientGrant(ctx, store.ClientGrant{TenantID: "t", ID: id, ClientID: id}),
		get(s.ClientGrants.ClientGrant(ctx, "t", id)),
		get(s.ClientGrants.FindClientGrant(ctx, "t", id, "", "")),
		s.ClientGrants.UpdateClientGrant(ctx, store.ClientGrant{TenantID: "t", ID: id, Version: 1}),
		s.ClientGrants.UpdateClientGrant(ctx, store.ClientGrant{TenantID: "t", ID: id, Version: 7}),
		get(s.ClientGrants.ClientGrants(ctx, "t", page)),
		s.ClientGrants.DeleteClientGrant(ctx, "t", id),

		s.SigningKeys.CreateSigningKey(ctx, key),
		get(s.SigningKeys.SigningKeys(ctx, key.TenantID)),
		s.SigningKeys.UpdateSigningKey(ctx, store.SigningKey{TenantID: key.TenantID, ID: id, Version: 1}),
		s.SigningKeys.UpdateSigningKey(ctx, store.SigningKey{TenantID: key.TenantID, ID: id, Version: 7}),
		s.SigningKeys.DeleteSigningKey(ctx, key.TenantID, id),

		s.UserAdmin.CreateUser(ctx, store.User{TenantID: "t", ID: id, ConnectionID: "con", Username: id}),
		get(s.Users.User(ctx, "t", id)),
		get(s.Users.UserByLogin(ctx, "t", "con", id)),
		s.UserAdmin.UpdateUser(ctx, store.User{TenantID: "t", ID: id, ConnectionID: "con", Version: 1}),
		s.UserAdmin.UpdateUser(ctx, store.User{TenantID: "t", ID: id, Version: 7}),
		get(s.UserAdmin.Users(ctx, "t", "", page)),
		get(s.UserAdmin.Users(ctx, "t", "con", page)),
		s.UserAdmin.DeleteUser(ctx, "t", id),

		s.Sessions.CreateSession(ctx, session),
		get(s.Sessions.Session(ctx, "t", session.ID, now)),
		s.Sessions.UpdateSession(ctx, store.Session{TenantID: "t", ID: session.ID, Version: 1, ExpiresAt: later}, now),
		s.Sessions.UpdateSession(ctx, store.Session{TenantID: "t", ID: session.ID, Version: 7, ExpiresAt: later}, now),
		get(s.Sessions.UserSessions(ctx, "t", userOf(9), store.Page{}, now)),
		s.Sessions.DeleteSession(ctx, "t", session.ID),
		get(s.Sessions.CollectSessions(ctx, later.Add(time.Second), 100)),

		s.Tickets.PutTicket(ctx, ticket, now),
		get(s.Tickets.Ticket(ctx, "t", "par", ticket.ID, now)),
		s.Tickets.UpdateTicket(ctx, store.Ticket{TenantID: "t", Kind: "par", ID: ticket.ID, Version: 1, ExpiresAt: later}, now),
		get(s.Tickets.ConsumeTicket(ctx, "t", "par", ticket.ID, now)),
		s.Tickets.DeleteTicket(ctx, "t", "par", ticket.ID),
		get(s.Tickets.CollectTickets(ctx, later.Add(time.Second), 100)),

		s.Grants.CreateGrant(ctx, store.Grant{TenantID: "t", ID: id, UserID: id, ClientID: id}),
		get(s.Grants.Grant(ctx, "t", id, "", now)),
		get(s.Grants.Grant(ctx, "t", nameOf("grant", 9), nameOf("family", 9), now)),
		get(s.Grants.FindGrant(ctx, "t", id, id, "")),
		s.Grants.UpdateGrant(ctx, store.Grant{TenantID: "t", ID: id, Version: 1}),
		s.Grants.UpdateGrant(ctx, store.Grant{TenantID: "t", ID: id, Version: 7}),
		get(s.Events.AppendEvents(ctx, []store.Event{{TenantID: "t", ID: id, ExpiresAt: later}})),
		get(s.Events.Event(ctx, "t", id, now)),
		get(s.Events.TrimEvents(ctx, "t", "refused", 4000, 100)),
		get(s.Events.CollectEvents(ctx, later.Add(time.Second), 100)),

		get(s.Grants.StartFamily(ctx, family, now)),
		get(s.Grants.Family(ctx, "t", id, now)),
		get(s.FamilyLister.UserFamilies(ctx, "t", userOf(9), store.Page{Limit: 50}, now)),
		get(s.Grants.RotateFamily(ctx, "t", id, 0, later, now)),
		get(s.Grants.RotateFamily(ctx, "t", id, 0, later, now)), // too late, which is looked into
		s.Grants.RevokeFamily(ctx, "t", id, later, now),
		get(s.Grants.CollectFamilies(ctx, later.Add(time.Second), 100)),
		s.Grants.DeleteGrant(ctx, "t", id),
	}
	for combination := range 8 {
		value := func(bit int, kind string) string {
			if combination&bit == 0 {
				return ""
			}
			if kind == "user" {
				return userOf(500)
			}
			return nameOf(kind, 500)
		}
		kind := []string{"", "user.sign_in"}[combination>>2]
		log := store.EventFilter{UserID: value(1, "user"), ClientID: value(2, "client"), Type: kind, Outcome: "allowed"}
		span := store.EventSpan{From: now.Add(-10 * time.Minute), Step: 10 * time.Minute, Steps: 1}
		errs = append(errs, get(s.Events.Events(ctx, "t", log, store.EventPage{Limit: 50}, now)),
			get(s.Events.Events(ctx, "t", log, store.EventPage{Newest: true, Limit: 50}, now)),
			get(s.Events.CountEvents(ctx, "t", log, span, now)))
		filter := store.FamilyFilter{SID: value(4, "sid"), UserID: value(1, "user"), ClientID: value(2, "client")}
		errs = append(errs, get(s.Grants.RevokeFamilies(ctx, "t", filter, later, now)))
		if combination < 4 {
			grants := store.GrantFilter{UserID: filter.UserID, ClientID: filter.ClientID}
			errs = append(errs, get(s.Grants.Grants(ctx, "t", grants, store.Page{Limit: 50})))
		}
	}
	return errs
}

// node is a part of a plan, as EXPLAIN (FORMAT JSON) has it.
type node struct {
	Type      string  `json:"Node Type"`
	Relation  string  `json:"Relation Name"`
	Index     string  `json:"Index Name"`
	Condition string  `json:"Index Cond"`
	Rows      float64 `json:"Plan Rows"`
	Plans     []node  `json:"Plans"`
}

func (n node) walk(visit func(node)) {
	visit(n)
	for _, child := range n.Plans {
		child.walk(visit)
	}
}

// No statement looks at more rows than it has to, with 10,000 in each table:
// neither with the plan that PostgreSQL makes for the arguments, nor with the one
// that it keeps for all.
func TestEveryStatementUsesAnIndexOfPostgres(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	h := open(t, url)
	populate(t, h, 10_000)

	trace := &tracer{args: make(map[string][]any)}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.Tracer = trace
	traced := stdlib.OpenDB(*config)
	t.Cleanup(func() { traced.Close() })
	s := newPostgres(t, sqlstore.Config{Write: traced})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	clear(trace.args) // of Migrate
	for i, err := range everyCall(t.Context(), s.Stores()) {
		if sentinel(err) == nil && err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	// SQLite prepares every statement there is: nothing has been left out.
	_, rec, _ := openRecorded(t)
	if got, want := len(trace.args), len(rec.statements()); got != want {
		t.Errorf("%d statements ran on PostgreSQL, the store has %d", got, want)
	}
	conn, err := h.write.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for text, args := range trace.args {
		t.Run(firstLine(text), func(t *testing.T) {
			plans := []string{"force_custom_plan"}
			if !strings.Contains(text, "LIMIT") {
				// What is limited is planned for its arguments: for any limit
				// PostgreSQL expects a tenth of the table, and finds that worse.
				plans = append(plans, "force_generic_plan")
			}
			for _, mode := range plans {
				plan := explainPostgres(t, conn, mode, text, args)
				plan.walk(func(n node) {
					if problem := wasteful(n); problem != "" {
						t.Errorf("%s: %s: %s\nplan (%s): %+v", text, n.Type, problem, mode, plan)
					}
				})
			}
		})
	}
}

// wasteful says why a part of a plan looks at more rows than it has to.
func wasteful(n node) string {
	if n.Relation == "opkit_tenants" && n.Condition != "" {
		return "" // its key is one column
	}
	switch n.Type {
	case "Seq Scan":
		return "reads the table " + n.Relation
	case "Sort", "Incremental Sort":
		if n.Rows > 10 { // a tenant's signing keys are sorted sooner than looked up in order
			return "no index has the order"
		}
	case "Index Scan", "Index Only Scan", "Bitmap Index Scan":
		columns := len(regexp.MustCompile(`[a-z_]+ [=<>]`).FindAllString(n.Condition, -1))
		// A tenant is everything there may be, except for its signing keys.
		if columns < 2 && !strings.Contains(n.Index, "signing_keys") && !strings.HasSuffix(n.Index, "_by_expiry") {
			return fmt.Sprintf("%s is looked up by %q only", n.Index, n.Condition)
		}
	}
	return ""
}

// explainPostgres returns the plan of a statement.
func explainPostgres(t *testing.T, conn *sql.Conn, mode, text string, args []any) node {
	t.Helper()
	exec := func(statement string) {
		t.Helper()
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	exec("SET plan_cache_mode = " + mode)
	exec("PREPARE explained AS " + text)
	defer exec("DEALLOCATE explained")
	literals := make([]string, len(args))
	for i, arg := range args {
		literals[i] = literal(arg)
	}
	var answer []byte
	explain := "EXPLAIN (FORMAT JSON) EXECUTE explained (" + strings.Join(literals, ", ") + ")"
	if err := conn.QueryRowContext(t.Context(), explain).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", explain, err)
	}
	var plans []struct{ Plan node }
	if err := json.Unmarshal(answer, &plans); err != nil || len(plans) != 1 {
		t.Fatalf("%s: %v", answer, err)
	}
	return plans[0].Plan
}

// literal returns an argument as SQL has it.
func literal(arg any) string {
	switch arg := arg.(type) {
	case nil:
		return "NULL"
	case []byte:
		if arg == nil {
			return "NULL"
		}
		return fmt.Sprintf(`'\x%x'`, arg)
	case json.RawMessage:
		return literal([]byte(arg))
	case string:
		return "'" + strings.ReplaceAll(arg, "'", "''") + "'"
	default:
		return fmt.Sprint(arg)
	}
}
