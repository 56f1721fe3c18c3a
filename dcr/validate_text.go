package dcr

import (
	"strings"

	"github.com/opkit/opkit/internal/oauth"
)

const (
	// maxText bounds members that people or programs read, in bytes.
	maxText     = 256
	maxContacts = 10
)

// checkTexts validates the members that are shown to people or kept for them.
func (m *metadata) checkTexts() error {
	if err := checkText("client_name", m.client.Name); err != nil {
		return err
	}
	if !m.rare {
		return nil
	}
	x := &m.extra
	if err := checkText("software_id", x.SoftwareID); err != nil {
		return err
	}
	if err := checkText("software_version", x.SoftwareVersion); err != nil {
		return err
	}
	if len(x.Contacts) > maxContacts {
		return invalid("contacts", "contacts has more than %d values", maxContacts)
	}
	for _, s := range x.Contacts {
		if err := checkText("contacts", s); err != nil {
			return err
		}
	}
	for _, s := range x.DefaultACRValues {
		if err := checkText("default_acr_values", s); err != nil {
			return err
		}
	}
	return nil
}

func checkText(member, s string) error {
	if len(s) > maxText {
		return invalid(member, "%s is longer than %d bytes", member, maxText)
	}
	for _, r := range s {
		if !oauth.VisibleRune(r) {
			return invalid(member, "%s has a control character, an invisible one, or one that changes the direction of text", member)
		}
	}
	if s != "" && strings.TrimSpace(s) == "" {
		return invalid(member, "%s is blank", member)
	}
	return nil
}
