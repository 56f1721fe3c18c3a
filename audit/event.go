package audit

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// Type says what an event is about.
type Type string

// The types of events.
const (
	// ClientRegistration is an attempt of an application to register itself.
	ClientRegistration Type = "client.registration"
	// ClientDocument is what was decided about a client ID metadata document when it
	// was fetched.
	ClientDocument Type = "client.document"
	// ClientCreation is that of an application that an administrator set up.
	ClientCreation Type = "client.creation"
	// ClientUpdate and ClientDeletion are attempts to change and delete an application.
	ClientUpdate   Type = "client.update"
	ClientDeletion Type = "client.deletion"
	// ClientRead is a refused attempt to read a registration. Reading one that
	// succeeds is no event.
	ClientRead Type = "client.read"
	// ClientEviction is the removal of a provisional application that made room for
	// another one, ClientExpiry that of one which nobody used in time.
	ClientEviction Type = "client.eviction"
	ClientExpiry   Type = "client.expiry"
	// ClientSecretRotation is the replacement of a client secret.
	ClientSecretRotation Type = "client.secret_rotation"
	// InitialAccessTokenCreation, …Use and …Deletion are about a permission to
	// register. Subject is its identifier.
	InitialAccessTokenCreation Type = "initial_access_token.creation"
	InitialAccessTokenUse      Type = "initial_access_token.use"
	InitialAccessTokenDeletion Type = "initial_access_token.deletion"

	// SignIn is an attempt of a user to sign in. Subject is the connection.
	SignIn Type = "user.sign_in"
	// AccountsLinked is a user joining an account at another provider, through the
	// connection that Subject names, to the one here. The note joined is the user that
	// the account there was or would have been.
	AccountsLinked Type = "user.accounts_linked"
	// Consent is the answer of a user to what an application asked for.
	Consent Type = "user.consent"
	// GrantRevocation is the end of what a user allowed an application, by the user's own
	// hand. Subject is the grant.
	GrantRevocation Type = "grant.revocation"
	// CodeReuse and RefreshTokenReuse are attempts to use what was used before: all
	// tokens that came of it are dead. Subject is the grant.
	CodeReuse         Type = "code.reuse"
	RefreshTokenReuse Type = "refresh_token.reuse"
	// KeyRotation is the publication of a new signing key, the first one included, and
	// KeyRevocation the end of one before its time. Subject is the key.
	KeyRotation   Type = "signing_key.rotation"
	KeyRevocation Type = "signing_key.revocation"
	// Management is another change by an administrator. Reasons say what was done, and
	// Subject is what it was done to.
	Management Type = "management.change"
)

// Outcome says how an attempt ended.
type Outcome string

// The outcomes.
const (
	// Allowed: it was done as it was asked for.
	Allowed Outcome = "allowed"
	// Narrowed: it was done, with less than was asked for. Reasons say what is missing.
	Narrowed Outcome = "narrowed"
	// Reused: an application that had registered before was answered.
	Reused Outcome = "reused"
	// Refused: it broke the rule in Reasons.
	Refused Outcome = "refused"
	// Limited: there were too many attempts.
	Limited Outcome = "limited"
	// Failed: the provider could not do it. Why is in its log.
	Failed Outcome = "failed"
)

// ActorRegistrant is the Actor of what the holder of a registration access token or
// a stranger at the registration endpoint did.
const ActorRegistrant = "registrant"

// Event is one decision. Each field that is empty does not apply.
type Event struct {
	Time     time.Time `json:"time"`
	TenantID string    `json:"tenant"`
	Type     Type      `json:"type"`
	Outcome  Outcome   `json:"outcome"`
	// ClientID is the application that the event is about.
	ClientID string `json:"client_id,omitempty"`
	// UserID is the user that the event is about.
	UserID string `json:"user_id,omitempty"`
	// Subject is the identifier of what else the event is about.
	Subject string `json:"subject,omitempty"`
	// Actor is who did it: [ActorRegistrant], or the client_id of an administrator's
	// access token. Empty: the user, the provider itself, or the host in Go.
	Actor string `json:"actor,omitempty"`
	// Address is where the request came from. Not valid: not known, or no request.
	Address netip.Addr `json:"address,omitzero"`
	// Code is the error code of the answer, such as invalid_redirect_uri.
	Code string `json:"code,omitempty"`
	// Reasons are the rules that decided, in words, each with the member that it is
	// about. They repeat values that a stranger chose: short, in printable ASCII.
	Reasons []string `json:"reasons,omitempty"`
	// Notes are what a policy of the host wrote down about it.
	Notes map[string]string `json:"notes,omitempty"`
}

// Sink receives events while requests wait: Record should hand the event on and
// return. It may be called by many goroutines at once, and must not modify what the
// event refers to.
type Sink interface {
	Record(ctx context.Context, e Event)
}

// Emit gives e to s, unless that is nil.
func Emit(ctx context.Context, s Sink, e Event) {
	if s != nil {
		s.Record(ctx, e)
	}
}

// Tee returns a sink that gives each event to all of sinks, one after the other. Those
// that are nil do not count.
func Tee(sinks ...Sink) Sink {
	all := slices.DeleteFunc(slices.Clone(sinks), func(s Sink) bool { return s == nil })
	if len(all) == 1 {
		return all[0]
	}
	return tee(all)
}

type tee []Sink

// Record implements [Sink].
func (t tee) Record(ctx context.Context, e Event) {
	for _, s := range t {
		s.Record(ctx, e)
	}
}

// LogValue implements [slog.LogValuer]: a group without what is empty.
func (e Event) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 11)
	for _, a := range [...]struct{ key, value string }{
		{"tenant", e.TenantID}, {"type", string(e.Type)}, {"outcome", string(e.Outcome)}, {"client_id", e.ClientID},
		{"user_id", e.UserID}, {"subject", e.Subject}, {"actor", e.Actor}, {"code", e.Code},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	if e.Address.IsValid() {
		attrs = append(attrs, slog.String("address", e.Address.String()))
	}
	if len(e.Reasons) > 0 {
		attrs = append(attrs, slog.Any("reasons", e.Reasons))
	}
	if len(e.Notes) > 0 {
		attrs = append(attrs, slog.Any("notes", e.Notes))
	}
	return slog.GroupValue(attrs...)
}

// Log returns a sink that writes each event to logger: refusals and failures as
// warnings, everything else as information.
func Log(logger *slog.Logger) Sink { return logSink{logger} }

type logSink struct{ logger *slog.Logger }

// Record implements [Sink].
func (s logSink) Record(ctx context.Context, e Event) {
	level := slog.LevelInfo
	switch e.Outcome {
	case Refused, Limited, Failed:
		level = slog.LevelWarn
	}
	s.logger.LogAttrs(ctx, level, string(e.Type), slog.Any("event", e))
}
