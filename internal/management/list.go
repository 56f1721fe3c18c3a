package management

import (
	"context"
	"net/http"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/store"
)

// List answers requests for a list of T in the form that they ask for.
type List[T any] struct {
	// Name is the member that holds the records where the answer is an object:
	// "connections".
	Name string
	// Fetch reads a page from the store, ordered by identifier.
	Fetch func(ctx context.Context, page store.Page) ([]T, error)
	// ID returns the identifier that the list is ordered by.
	ID func(*T) string
	// Match selects records; nil takes all.
	Match func(*T) bool
	// View returns what is sent for a record.
	View func(*T) any
	// CheckpointOnly answers by checkpoint whatever form the request has.
	CheckpointOnly bool
	// Named lists page by checkpoint as SDKs read logs: from is the identifier of the
	// last record seen, and the answer is an array unless totals are asked for.
	Named bool
}

// maxScan is how many records one request looks at. A filter that few of millions
// match gives a short page and a checkpoint to go on from.
const maxScan = 10_000

// reach is how many records can be reached by page number. Whoever needs more
// pages by checkpoint, which costs the same for every page.
const reach = 10_000

// Serve writes the part of the list that r asks for.
func (l List[T]) Serve(w http.ResponseWriter, r *http.Request) error {
	paging, err := readPaging(r.URL.RawQuery, l.Named)
	if err != nil {
		return err
	}
	if l.CheckpointOnly && paging.page > 0 {
		return InvalidQuery("page: this list is read with take and from")
	}
	if paging.checkpoint || l.CheckpointOnly {
		return l.serveCheckpoint(w, r, paging)
	}
	return l.servePage(w, r, paging)
}

func (l List[T]) serveCheckpoint(w http.ResponseWriter, r *http.Request, p paging) error {
	views := []any{}
	last, more := "", false
	scanned, err := l.walk(r.Context(), p.after, p.limit+1, func(record *T) bool {
		if len(views) == p.limit {
			more = true
			return false
		}
		views = append(views, l.View(record))
		last = l.ID(record)
		return true
	})
	if err != nil {
		return err
	}
	if l.Named && !p.totals {
		httpx.WriteJSON(w, http.StatusOK, views)
		return nil
	}
	next := scanned
	if more {
		next = last
	}
	answer := map[string]any{l.Name: views}
	switch {
	case next != "" && l.Named:
		answer["next"] = next
	case next != "":
		answer["next"] = nextToken(next)
	}
	httpx.WriteJSON(w, http.StatusOK, answer)
	return nil
}

func (l List[T]) servePage(w http.ResponseWriter, r *http.Request, p paging) error {
	start := p.page * p.limit
	if start >= reach {
		return InvalidQuery("page: only the first %d records can be reached by page number; use take and from", reach)
	}
	views := []any{}
	total := 0
	size := min(start+p.limit, store.MaxPageLimit)
	if p.totals {
		size = store.MaxPageLimit
	}
	scanned, err := l.walk(r.Context(), "", size, func(record *T) bool {
		if total >= start && len(views) < p.limit {
			views = append(views, l.View(record))
		}
		total++
		if p.totals {
			// One more than can be reached: a caller that pages on runs into the
			// error above instead of believing that it saw everything.
			return total <= reach
		}
		return len(views) < p.limit
	})
	switch {
	case err != nil:
		return err
	case scanned != "" && (p.totals || len(views) < p.limit):
		return InvalidQuery("the filter matches too few of the first %d records to page by number; use take and from", maxScan)
	}
	if !p.totals {
		httpx.WriteJSON(w, http.StatusOK, views)
		return nil
	}
	httpx.WriteJSON(w, http.StatusOK, map[string]any{
		"start": start, "limit": p.limit, "length": len(views), "total": total, l.Name: views,
	})
	return nil
}

// walk calls yield for the matching records after an identifier until yield
// returns false, reading size records at a time. If a filter made it give up, it
// returns the identifier of the last record that it saw.
func (l List[T]) walk(ctx context.Context, after string, size int, yield func(*T) bool) (scanned string, err error) {
	page := store.Page{After: after, Limit: size}
	for seen := 0; ; {
		records, err := l.Fetch(ctx, page)
		if err != nil {
			return "", err
		}
		for i := range records {
			record := &records[i]
			if l.Match != nil && !l.Match(record) {
				continue
			}
			if !yield(record) {
				return "", nil
			}
		}
		if len(records) < page.Size() {
			return "", nil
		}
		page.After = l.ID(&records[len(records)-1])
		if l.Match == nil {
			continue
		}
		if seen += len(records); seen >= maxScan {
			return page.After, nil
		}
		page.Limit = store.MaxPageLimit
	}
}
