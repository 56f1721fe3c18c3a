package oauth

import "strings"

// NamesDocument reports whether a client identifier is the URL of a document that
// describes the client (OAuth Client ID Metadata Document §3), by its first bytes.
// Identifiers that are given out here never begin like that.
func NamesDocument(clientID string) bool { return strings.HasPrefix(clientID, "https://") }
