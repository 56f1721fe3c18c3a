package sqltest

import (
	"database/sql"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"modernc.org/sqlite"

	"github.com/opkit/opkit/store/sqlstore"
)

// openRecorded opens a store with a single connection and its recorder.
func openRecorded(t *testing.T) (*sqlstore.Store, *recorder, *sql.DB) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "opkit.db")
	connector, err := sqlite.NewConnector("file:" + path + "?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	rec := &recorder{Connector: connector}
	db := sql.OpenDB(rec)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	s, err := sqlstore.New(sqlstore.Config{Dialect: sqlstore.SQLite, Write: db})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, rec, db
}

var parameter = regexp.MustCompile(`\?[0-9]+`)

// No statement looks at more rows than it has to: each condition is answered by
// an index, and each list comes in the index's order. Collection goes through the
// index on expires_at.
func TestEveryStatementUsesAnIndex(t *testing.T) {
	_, rec, db := openRecorded(t)
	statements := rec.statements()
	if len(statements) < 50 {
		t.Fatalf("%d statements are prepared: the recorder does not see them all", len(statements))
	}
	for query := range statements {
		t.Run(firstLine(query), func(t *testing.T) {
			seen := make(map[string]bool)
			var args []any
			for _, p := range parameter.FindAllString(query, -1) {
				if !seen[p] {
					seen[p] = true
					args = append(args, "x")
				}
			}
			plan := explain(t, db, query, args)
			for _, step := range plan {
				// A tenant is everything there may be, except for its signing keys.
				wholeTenant := strings.Contains(step, "(tenant_id=?)") && !strings.Contains(step, "signing_keys")
				if strings.Contains(step, "SCAN ") || strings.Contains(step, "AUTOMATIC") ||
					strings.Contains(step, "TEMP B-TREE") || wholeTenant {
					t.Errorf("%s\nplan: %s", query, strings.Join(plan, "\n      "))
				}
			}
			for condition, index := range map[string]string{
				"expires_at <= ?1": "_by_expiry",
				"sid = ?4":         "families_by_session (tenant_id=? AND sid=?)",
				"user_id = ?4":     "_by_user (tenant_id=? AND user_id=?",
				"client_id = ?4":   "_by_client (tenant_id=? AND client_id=?",
				"dynamic = 1":      "clients_by_idleness (tenant_id=? AND dynamic=? AND confirmed=?",
			} {
				if strings.Contains(query, " "+condition) && !strings.Contains(strings.Join(plan, "\n"), index) {
					t.Errorf("%s\ndoes not use %s: %s", query, index, strings.Join(plan, "; "))
				}
			}
		})
	}
}

func explain(t *testing.T, db *sql.DB, query string, args []any) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}

func firstLine(query string) string {
	return strings.Join(strings.Fields(query), " ")[:40]
}
