package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"

	"github.com/opkit/opkit/store"
)

// options are the command line.
type options struct {
	addr             string
	issuer           string
	db               string
	store            string
	tls              bool
	user             string
	password         string
	mgmtClientID     string
	mgmtClientSecret string
	ready            bool
	mode             string
	appAddr          string
	pprofAddr        string
	state            string
	walkthrough      bool

	// given are the flags that were on the command line.
	given map[string]bool
}

const (
	storeSQLite = "sqlite"
	storeMemory = "memory"
)

func parseOptions(args []string, output io.Writer) (options, error) {
	o := options{given: map[string]bool{}}
	fs := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	fs.SetOutput(output)
	fs.StringVar(&o.addr, "addr", "127.0.0.1:8080", "`address` of the provider; port 0 takes a free one")
	fs.StringVar(&o.issuer, "issuer", "", "issuer `URL`, kept byte for byte (default: the address)")
	fs.StringVar(&o.db, "db", "opkit-quickstart.db", "SQLite `file`; the secret is kept beside it")
	fs.StringVar(&o.store, "store", storeSQLite, "where data is kept: `sqlite` or memory")
	fs.BoolVar(&o.tls, "tls", false, "serve https with a certificate made at start")
	fs.StringVar(&o.user, "user", "ada@example.com", "email address of the `user`")
	fs.StringVar(&o.password, "password", "", "the user's `password` (default: one that stays the same)")
	fs.StringVar(&o.mgmtClientID, "mgmt-client-id", "quickstart-management", "`identifier` of the management client")
	fs.StringVar(&o.mgmtClientSecret, "mgmt-client-secret", "", "the management client's `secret` (default: one that stays the same)")
	fs.BoolVar(&o.ready, "ready", false, "switch dynamic registration on and promote the connection at start")
	fs.StringVar(&o.mode, "mode", store.ModePermissive, "security `mode` of applications that register: permissive or strict")
	fs.StringVar(&o.appAddr, "app-addr", "127.0.0.1:8081", "`address` of the demo application; empty: none")
	fs.StringVar(&o.pprofAddr, "pprof", "", "`address` of the profiler; empty: none")
	fs.StringVar(&o.state, "state", "", "`file` that says, in JSON, where things are once they are served")
	fs.BoolVar(&o.walkthrough, "walkthrough", false, "perform every step, print requests and answers, and exit")
	if err := fs.Parse(args); err != nil {
		return options{}, err
	}
	fs.Visit(func(f *flag.Flag) { o.given[f.Name] = true })
	if err := o.check(fs.Args()); err != nil {
		fmt.Fprintln(output, err)
		fs.Usage()
		return options{}, err
	}
	return o, nil
}

func (o *options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q", rest[0])
	}
	if o.store != storeSQLite && o.store != storeMemory {
		return fmt.Errorf("-store %s: want %s or %s", o.store, storeSQLite, storeMemory)
	}
	if o.mode != store.ModePermissive && o.mode != store.ModeStrict {
		return fmt.Errorf("-mode %s: want %s or %s", o.mode, store.ModePermissive, store.ModeStrict)
	}
	if o.walkthrough && o.mode != store.ModePermissive {
		return errors.New("-walkthrough: the implicit flow needs -mode permissive")
	}
	if o.user == "" || o.mgmtClientID == "" {
		return errors.New("-user and -mgmt-client-id must not be empty")
	}
	if o.issuer != "" {
		u, err := url.Parse(o.issuer)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("-issuer %s: want an absolute http or https URL", o.issuer)
		}
	}
	return nil
}
