package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/examples/quickstart/demoapp"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/store/sqlstore"
	"github.com/opkit/opkit/store/sqlstore/sqltest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// quickstart is one running quickstart.
type quickstart struct {
	options options
	logger  *slog.Logger

	cert                    *certificate // nil without -tls
	provider, app, profiler *server
	issuer                  string
	transport               http.RoundTripper // trusts cert
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	if o.walkthrough {
		// A walk starts where the page starts: on new data, and beside a quickstart
		// that is already running.
		dir, err := o.isolate()
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	q := &quickstart{options: o, logger: slog.New(slog.NewTextHandler(stderr, nil))}
	if o.state != "" { // an old one would say that everything is served
		if err := os.Remove(o.state); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	stores, closeStores, err := openStores(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStores()) }()
	if err := q.listen(); err != nil {
		return err
	}
	return q.serve(ctx, stores, stdout)
}

// isolate gives a walk data and ports of its own, where the command line did not
// say otherwise. The caller removes the directory.
func (o *options) isolate() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "opkit-quickstart-"); err != nil {
		return "", err
	}
	if !o.given["db"] {
		o.db = filepath.Join(dir, "walkthrough.db")
	}
	if !o.given["addr"] {
		o.addr = "127.0.0.1:0"
	}
	if !o.given["app-addr"] {
		o.appAddr = ""
	}
	return dir, nil
}

func openStores(ctx context.Context, o options) (store.Stores, func() error, error) {
	if o.store == storeMemory {
		return memstore.New().Stores(), func() error { return nil }, nil
	}
	write, read, err := sqltest.OpenSQLite(o.db)
	if err != nil {
		return store.Stores{}, nil, err
	}
	closePools := func() error { return errors.Join(read.Close(), write.Close()) }
	s, err := sqlstore.New(sqlstore.Config{Dialect: sqlstore.SQLite, Write: write, Read: read})
	if err == nil {
		err = s.Migrate(ctx)
	}
	if err != nil {
		return store.Stores{}, nil, errors.Join(fmt.Errorf("%s: %w", o.db, err), closePools())
	}
	return s.Stores(), func() error { return errors.Join(s.Close(), closePools()) }, nil
}

// listen opens the listeners. After it, every address is known.
func (q *quickstart) listen() error {
	q.transport = http.DefaultTransport
	if q.options.tls {
		var hosts []string
		for _, address := range []string{q.options.issuer, "http://" + q.options.addr, "http://" + q.options.appAddr} {
			if host := hostOf(address); host != "" {
				hosts = append(hosts, host)
			}
		}
		cert, err := newCertificate(hosts, time.Now())
		if err != nil {
			return err
		}
		q.cert, q.transport = cert, cert.transport()
	}
	var err error
	if q.provider, err = listen(q.options.addr, q.cert); err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	if q.options.appAddr != "" {
		if q.app, err = listen(q.options.appAddr, q.cert); err != nil {
			return fmt.Errorf("-app-addr: %w", err)
		}
	}
	if q.options.pprofAddr != "" {
		if q.profiler, err = listen(q.options.pprofAddr, nil); err != nil {
			return fmt.Errorf("-pprof: %w", err)
		}
		q.profiler.http.Handler = profiler()
	}
	q.issuer = q.options.issuer
	if q.issuer == "" {
		q.issuer = q.provider.url
	}
	return nil
}

// serve serves until ctx ends or, in a walk, until the walk does.
func (q *quickstart) serve(ctx context.Context, stores store.Stores, stdout io.Writer) error {
	var secretFile string
	if q.options.store == storeSQLite {
		secretFile = q.options.db + ".secret"
	}
	secret, err := openSecret(secretFile)
	if err != nil {
		return err
	}
	p, err := opkit.New(opkit.Config{
		Issuer:   q.issuer,
		Stores:   stores,
		Secret:   secret,
		Settings: store.TenantSettings{FriendlyName: "Quickstart", DynamicClientRegistrationSecurityMode: q.options.mode},
		Claims:   customClaims,
		// Many SDKs for single-page applications look for the user there.
		UserClaimsInIDToken: true,
		// passport-auth0 asks in no other way who signed in.
		InsecureUserInfoTokenInQuery: true,
		Logger:                       q.logger,
	})
	if err != nil {
		return err
	}
	if err := p.Check(ctx); err != nil { // another secret file than last time, most of all
		return err
	}
	m, err := (&setup{provider: p, stores: stores, options: q.options, secret: secret}).run(ctx)
	if err != nil {
		return fmt.Errorf("setting up: %w", err)
	}
	if q.options.store == storeSQLite {
		m.Database, m.SecretFile = q.options.db, secretFile
	}
	if err := q.handlers(p, &m); err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	background := make(chan error, 2)
	go func() { background <- p.Run(ctx) }()
	go func() { background <- serveAll(ctx, q.servers()) }()
	err = q.announce(ctx, &m, stdout)
	if err == nil && !q.options.walkthrough {
		select {
		case <-ctx.Done():
		case err = <-background: // a server failed, or heard of the end first
			background <- nil
		}
		if ctx.Err() != nil {
			err = nil
			fmt.Fprintln(stdout, "\nStopping.")
		}
	}
	cancel()
	for range 2 { // the stores are closed after this
		if ended := <-background; ended != nil && !errors.Is(ended, context.Canceled) && !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
	}
	return err
}

// handlers says what the listeners serve, and writes into m where.
func (q *quickstart) handlers(p *opkit.Provider, m *made) error {
	m.APIURL, m.ListenURL = originOf(q.issuer)+apiPath, q.provider.url
	var appOrigin string
	if q.app != nil {
		appOrigin, m.AppURL = q.app.url, q.app.url
		var registrationFile string
		if q.options.store == storeSQLite {
			registrationFile = q.options.db + ".app.json"
		}
		app, err := demoapp.New(demoapp.Config{
			Issuer: q.issuer, URL: q.app.url, API: m.APIURL,
			Audience: audience, Scopes: []string{"appointments", "contacts"},
			Client: q.client(), RegistrationFile: registrationFile, Logger: q.logger,
		})
		if err != nil {
			return err
		}
		q.app.http.Handler = app
	}
	api, err := newDemoAPI(q.issuer, appOrigin, q.client())
	if err != nil {
		return err
	}
	pages, err := q.newConsole(p, m)
	if err != nil {
		return err
	}
	if q.profiler != nil {
		m.PprofURL = q.profiler.url
	}
	// The provider serves every path but these: it redirects nothing, so it must not
	// stand behind a mux that cleans paths.
	q.provider.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == apiPath:
			api.ServeHTTP(w, r)
		case r.URL.Path == consolePath || strings.HasPrefix(r.URL.Path, consolePath+"/"):
			pages.ServeHTTP(w, r)
		default:
			p.ServeHTTP(w, r)
		}
	})
	if q.cert != nil {
		if m.CAFile, err = filepath.Abs(q.options.db + ".ca.pem"); err != nil {
			return err
		}
		return writeFile(m.CAFile, q.cert.caPEM, os.Rename)
	}
	return nil
}

// announce says, once the listeners serve, where everything is, and walks.
func (q *quickstart) announce(ctx context.Context, m *made, stdout io.Writer) error {
	if q.options.ready {
		if err := makeReady(ctx, q.transport, m); err != nil {
			return err
		}
	}
	if q.options.state != "" {
		if err := m.state.write(q.options.state); err != nil {
			return err
		}
	}
	if q.options.walkthrough {
		return walkthrough(ctx, stdout, q.transport, *m)
	}
	return m.print(stdout)
}

func (q *quickstart) servers() []*server {
	all := []*server{q.provider}
	for _, s := range []*server{q.app, q.profiler} {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// client calls the provider as others do, over the network.
func (q *quickstart) client() *http.Client {
	return &http.Client{Transport: q.transport, Timeout: 10 * time.Second}
}

func writeJSON(w http.ResponseWriter, v any) {
	var b strings.Builder
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprint(w, b.String())
}
