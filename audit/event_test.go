package audit_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/opkit/opkit/audit"
)

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func TestLogWritesWhatIsThere(t *testing.T) {
	for _, c := range []struct {
		rule  string
		event audit.Event
		want  string
	}{
		{"a refusal is a warning", audit.Event{
			Time: time.Unix(1, 0), TenantID: "t", Type: audit.ClientRegistration, Outcome: audit.Refused, Actor: audit.ActorRegistrant,
			Address: netip.MustParseAddr("192.0.2.1"), Code: "invalid_redirect_uri", Reasons: []string{"redirect_uris is required"},
		}, "level=WARN msg=client.registration event.tenant=t event.type=client.registration event.outcome=refused event.actor=registrant" +
			" event.code=invalid_redirect_uri event.address=192.0.2.1 event.reasons=\"[redirect_uris is required]\"\n"},
		{"what is empty is left out", audit.Event{TenantID: "t", Type: audit.ClientExpiry, Outcome: audit.Allowed, ClientID: "c"},
			"level=INFO msg=client.expiry event.tenant=t event.type=client.expiry event.outcome=allowed event.client_id=c\n"},
		{"a limit is a warning", audit.Event{Type: audit.ClientUpdate, Outcome: audit.Limited},
			"level=WARN msg=client.update event.type=client.update event.outcome=limited\n"},
	} {
		var out bytes.Buffer
		audit.Log(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: withoutTime}))).Record(context.Background(), c.event)
		if got := out.String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.rule, got, c.want)
		}
	}
}
