package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

func TestCatchesBrokenClientStores(t *testing.T) {
	catches(t, clientChecks(), func(s *memstore.Store) store.ClientStore { return s }, []fault[store.ClientStore]{
		{name: "ignores the tenant", check: "tenants", broken: mapping(func(tenant, id string) (string, string) { return "", id })},
		{name: "joins tenant and identifier with a slash", check: "hostile-identifiers", broken: mapping(func(tenant, id string) (string, string) { return "", tenant + "/" + id })},
		{name: "joins tenant and identifier with a zero", check: "hostile-identifiers", broken: mapping(func(tenant, id string) (string, string) { return "", tenant + "\x00" + id })},
		{name: "folds case", check: "not-found", broken: mapping(func(tenant, id string) (string, string) { return tenant, strings.ToLower(id) })},
		{name: "trims blanks", check: "not-found", broken: mapping(func(tenant, id string) (string, string) { return tenant, strings.TrimSpace(id) })},
		{name: "cuts identifiers at 255 bytes", check: "hostile-identifiers", broken: mapping(func(tenant, id string) (string, string) { return tenant, id[:min(len(id), 255)] })},
		{name: "folds the tenant", check: "hostile-identifiers", broken: mapping(func(tenant, id string) (string, string) { return strings.ToLower(tenant), id })},
		{
			name: "drops a field", check: "round-trip",
			broken: editing(func(c *store.Client) {
				if c.Metadata != nil {
					c.Metadata.InitiateLoginURI = ""
				}
			}),
		},
		{name: "exchanges two booleans", check: "round-trip", broken: editing(func(c *store.Client) { c.Dynamic, c.FirstParty = c.FirstParty, c.Dynamic })},
		{
			name: "loses the precision of numbers in JSON", check: "round-trip",
			broken: editing(func(c *store.Client) {
				if c.Metadata != nil {
					c.Metadata.JWKS = json.RawMessage(strings.ReplaceAll(string(c.Metadata.JWKS), "9007199254740993", "9007199254740992"))
				}
			}),
		},
		{
			name: "takes a default_max_age of 0 for none", check: "metadata-zero",
			broken: editing(func(c *store.Client) {
				if c.Metadata != nil && c.Metadata.DefaultMaxAge != nil && *c.Metadata.DefaultMaxAge == 0 {
					c.Metadata.DefaultMaxAge = nil
				}
			}),
		},
		{
			name: "keeps sealed bytes as text", check: "secrets",
			broken: editing(func(c *store.Client) { c.SealedSecret = store.Sealed(strings.ToValidUTF8(string(c.SealedSecret), "?")) }),
		},
		{name: "keeps the caller's version", check: "version", broken: func(s *memstore.Store) store.ClientStore { return &callersVersion{ClientStore: s} }},
		{name: "changes the security mode", check: "update-replaces", broken: func(s *memstore.Store) store.ClientStore { return &latest{ClientStore: s} }},
		{name: "creates what an update does not find", check: "delete", broken: func(s *memstore.Store) store.ClientStore { return upsertClients{s} }},
		{name: "returns its own slices", check: "copies-out", broken: func(s *memstore.Store) store.ClientStore { return &shared{ClientStore: s} }},
		{name: "returns its own pointer from a list", check: "copies-out", broken: func(s *memstore.Store) store.ClientStore { return &sharedList{ClientStore: s} }},
		{name: "creates in two steps", check: "interrupted", broken: func(s *memstore.Store) store.ClientStore { return createsInSteps{s} }},
		{name: "updates in two steps", check: "interrupted", broken: func(s *memstore.Store) store.ClientStore { return updatesInSteps{s} }},
		{name: "says that it did what it will do", check: "interrupted", broken: func(s *memstore.Store) store.ClientStore { return tooEarly{s} }},
		{name: "lists identifiers, then reads them", check: "Clients-pages-race", broken: func(s *memstore.Store) store.ClientStore { return listsInSteps{s} }},
		{name: "lists in no order", check: "Clients-order", broken: listing(func(p store.Page) store.Page { return p }, slices.Reverse[[]store.Client])},
		{
			name: "lists in the order of a locale", check: "Clients-order",
			broken: listing(func(p store.Page) store.Page { return p }, func(cs []store.Client) {
				slices.SortStableFunc(cs, func(a, b store.Client) int { return strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID)) })
			}),
		},
		{
			name: "repeats the last record", check: "Clients-pages",
			broken: func(s *memstore.Store) store.ClientStore { return inclusive{s} },
		},
		{
			name: "pages by offset", check: "Clients-pages",
			broken: func(s *memstore.Store) store.ClientStore { return &offsets{ClientStore: s} },
		},
		{
			name: "fails if the last record seen is gone", check: "Clients-pages",
			broken: func(s *memstore.Store) store.ClientStore { return anchored{s} },
		},
		{
			name: "ignores the limit", check: "Clients-limit",
			broken: listing(func(p store.Page) store.Page { p.Limit = 0; return p }, func([]store.Client) {}),
		},
		{
			name: "has no limit", check: "Clients-limit", long: true,
			broken: func(s *memstore.Store) store.ClientStore { return limitless{s} },
		},
		{
			name: "answers nothing for a limit of zero", check: "Clients-limit",
			broken: func(s *memstore.Store) store.ClientStore { return literal{s} },
		},
		{
			name: "interprets After", check: "Clients-after",
			broken: func(s *memstore.Store) store.ClientStore { return interpreting{s} },
		},
		{name: "looks, then creates", check: "create-race", broken: func(s *memstore.Store) store.ClientStore { return lookThenCreate{s} }},
	})
}

// createsInSteps stores a client without its name, and its name afterwards.
type createsInSteps struct{ *memstore.Store }

func (s createsInSteps) CreateClient(ctx context.Context, c store.Client) error {
	half := c
	half.Name = ""
	if err := s.Store.CreateClient(ctx, half); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	return errors.Join(s.Store.DeleteClient(ctx, c.TenantID, c.ID), s.Store.CreateClient(ctx, c))
}

// updatesInSteps does the same in an update.
type updatesInSteps struct{ *memstore.Store }

func (s updatesInSteps) UpdateClient(ctx context.Context, c store.Client) error {
	half := c
	half.Name = ""
	if err := s.Store.UpdateClient(ctx, half); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.Version++
	return s.Store.UpdateClient(ctx, c)
}

// tooEarly forgets to say that it was stopped.
type tooEarly struct{ *memstore.Store }

func (s tooEarly) DeleteClient(ctx context.Context, tenant, id string) error {
	if ctx.Err() != nil {
		return nil
	}
	return s.Store.DeleteClient(ctx, tenant, id)
}

// listsInSteps fails if a client goes while it lists.
type listsInSteps struct{ *memstore.Store }

func (s listsInSteps) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	list, err := s.Store.Clients(ctx, tenant, page)
	for i := range list {
		runtime.Gosched()
		if list[i], err = s.Store.Client(ctx, tenant, list[i].ID); err != nil {
			return nil, err
		}
	}
	return list, err
}

// mapping returns clients that are kept under another tenant and identifier.
func mapping(of func(tenant, id string) (string, string)) func(*memstore.Store) store.ClientStore {
	return func(s *memstore.Store) store.ClientStore {
		return &mappedClients{ClientStore: s, of: of, ids: make(map[string][]string)}
	}
}

type mappedClients struct {
	store.ClientStore
	of  func(tenant, id string) (string, string)
	ids map[string][]string // that were created, by tenant
}

func (s *mappedClients) CreateClient(ctx context.Context, c store.Client) error {
	tenant, id := c.TenantID, c.ID
	c.TenantID, c.ID = s.of(tenant, id)
	err := s.ClientStore.CreateClient(ctx, c)
	if err == nil {
		s.ids[tenant] = append(s.ids[tenant], id)
	}
	return err
}

func (s *mappedClients) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	mappedTenant, mappedID := s.of(tenant, id)
	c, err := s.ClientStore.Client(ctx, mappedTenant, mappedID)
	if err == nil {
		c.TenantID, c.ID = tenant, id
	}
	return c, err
}

func (s *mappedClients) UpdateClient(ctx context.Context, c store.Client) error {
	c.TenantID, c.ID = s.of(c.TenantID, c.ID)
	return s.ClientStore.UpdateClient(ctx, c)
}

func (s *mappedClients) DeleteClient(ctx context.Context, tenant, id string) error {
	tenant, id = s.of(tenant, id)
	return s.ClientStore.DeleteClient(ctx, tenant, id)
}

func (s *mappedClients) Clients(ctx context.Context, tenant string, _ store.Page) ([]store.Client, error) {
	var cs []store.Client
	for _, id := range s.ids[tenant] {
		if c, err := s.Client(ctx, tenant, id); err == nil {
			cs = append(cs, c)
		}
	}
	return cs, ctx.Err()
}

// editing returns clients that are read otherwise than they were written.
func editing(edit func(*store.Client)) func(*memstore.Store) store.ClientStore {
	return func(s *memstore.Store) store.ClientStore { return editedClients{s, edit} }
}

type editedClients struct {
	store.ClientStore
	edit func(*store.Client)
}

func (s editedClients) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	c, err := s.ClientStore.Client(ctx, tenant, id)
	s.edit(&c)
	return c, err
}

type callersVersion struct {
	store.ClientStore
	versions sync.Map
}

func (s *callersVersion) CreateClient(ctx context.Context, c store.Client) error {
	s.versions.Store(c.ID, c.Version)
	return s.ClientStore.CreateClient(ctx, c)
}

func (s *callersVersion) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	c, err := s.ClientStore.Client(ctx, tenant, id)
	if v, ok := s.versions.Load(id); ok && err == nil {
		c.Version = v.(int64)
	}
	return c, err
}

// latest shows the security mode of the last update.
type latest struct {
	store.ClientStore
	mode string
}

func (s *latest) UpdateClient(ctx context.Context, c store.Client) error {
	s.mode = c.SecurityMode
	return s.ClientStore.UpdateClient(ctx, c)
}

func (s *latest) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	c, err := s.ClientStore.Client(ctx, tenant, id)
	if s.mode != "" {
		c.SecurityMode = s.mode
	}
	return c, err
}

type upsertClients struct{ store.ClientStore }

func (s upsertClients) UpdateClient(ctx context.Context, c store.Client) error {
	err := s.ClientStore.UpdateClient(ctx, c)
	if errors.Is(err, store.ErrNotFound) {
		return s.CreateClient(ctx, c)
	}
	return err
}

type shared struct {
	store.ClientStore
	uris []string
}

func (s *shared) CreateClient(ctx context.Context, c store.Client) error {
	s.uris = slices.Clone(c.RedirectURIs)
	return s.ClientStore.CreateClient(ctx, c)
}

func (s *shared) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	c, err := s.ClientStore.Client(ctx, tenant, id)
	c.RedirectURIs = s.uris
	return c, err
}

type sharedList struct {
	store.ClientStore
	metadata *store.ClientMetadata
}

func (s *sharedList) CreateClient(ctx context.Context, c store.Client) error {
	s.metadata = c.Clone().Metadata
	return s.ClientStore.CreateClient(ctx, c)
}

func (s *sharedList) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	cs, err := s.ClientStore.Clients(ctx, tenant, page)
	for i := range cs {
		cs[i].Metadata = s.metadata
	}
	return cs, err
}

// listing returns clients that are listed otherwise.
func listing(page func(store.Page) store.Page, edit func([]store.Client)) func(*memstore.Store) store.ClientStore {
	return func(s *memstore.Store) store.ClientStore { return listedClients{s, page, edit} }
}

type listedClients struct {
	store.ClientStore
	page func(store.Page) store.Page
	edit func([]store.Client)
}

func (s listedClients) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	cs, err := s.ClientStore.Clients(ctx, tenant, s.page(page))
	s.edit(cs)
	return cs, err
}

type inclusive struct{ store.ClientStore }

func (s inclusive) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	cs, err := s.ClientStore.Clients(ctx, tenant, page)
	if last, lastErr := s.Client(ctx, tenant, page.After); lastErr == nil {
		cs = append([]store.Client{last}, cs[:min(len(cs), page.Size()-1)]...)
	}
	return cs, err
}

// offsets remembers how many records the caller has seen.
type offsets struct {
	store.ClientStore
	seen int
}

func (s *offsets) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	all, err := s.ClientStore.Clients(ctx, tenant, store.Page{})
	if page.After == "" {
		s.seen = 0
	}
	all = all[min(s.seen, len(all)):]
	all = all[:min(page.Size(), len(all))]
	s.seen += len(all)
	return all, err
}

type anchored struct{ store.ClientStore }

func (s anchored) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	if page.After != "" {
		if _, err := s.Client(ctx, tenant, page.After); err != nil {
			return nil, err
		}
	}
	return s.ClientStore.Clients(ctx, tenant, page)
}

type limitless struct{ store.ClientStore }

func (s limitless) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	cs, err := s.ClientStore.Clients(ctx, tenant, page)
	if err != nil || len(cs) == 0 || page.Limit > 0 && len(cs) >= page.Limit {
		return cs, err
	}
	page.After = cs[len(cs)-1].ID
	page.Limit -= len(cs)
	more, err := s.Clients(ctx, tenant, page)
	return append(cs, more...), err
}

type literal struct{ store.ClientStore }

func (s literal) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	if page.Limit == 0 && page.After == "" {
		return nil, ctx.Err()
	}
	return s.ClientStore.Clients(ctx, tenant, page)
}

type interpreting struct{ store.ClientStore }

func (s interpreting) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	if strings.ContainsAny(page.After, `'"\`) {
		return nil, errors.New("syntax error")
	}
	return s.ClientStore.Clients(ctx, tenant, page)
}

type lookThenCreate struct{ store.ClientStore }

func (s lookThenCreate) CreateClient(ctx context.Context, c store.Client) error {
	if _, err := s.Client(ctx, c.TenantID, c.ID); err == nil {
		return store.ErrExists
	}
	runtime.Gosched()
	_ = s.DeleteClient(ctx, c.TenantID, c.ID)
	return s.ClientStore.CreateClient(ctx, c)
}
