package management

import (
	"encoding/base64"
	"strings"
)

// SessionID returns how the management API calls a session: by the user and the
// session's sid, because stores find the sessions of a user, and because the session
// keeps that name when the user signs in again. It is no secret.
func SessionID(user, sid string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(user)) + "." + sid
}

// ParseSessionID returns what is in an identifier that SessionID made, or false.
func ParseSessionID(id string) (user, sid string, ok bool) {
	encoded, sid, ok := strings.Cut(id, ".")
	if !ok || sid == "" || len(id) > 2*maxIdentifier {
		return "", "", false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) == 0 || strings.ContainsAny(encoded, "\r\n") || !plainText(string(raw)) || !plainText(sid) {
		return "", "", false
	}
	return string(raw), sid, true
}
