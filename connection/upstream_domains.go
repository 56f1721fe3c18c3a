package connection

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opkit/opkit/store"
)

// This file finds the connection that the domain of an email address leads to. Nothing
// is asked about users: whoever types an address learns which domains are connected,
// and not who has an account.

// maxHostname is that of RFC 1035 §2.3.4, as text.
const maxHostname = 253

// HomeRealms maps domains, as DNS has them, to those of connections whose users have
// email addresses there. A domain that several of them name belongs to the one that was
// made first: a later one takes nobody away from it.
func (d *Directory) HomeRealms(connections []store.Connection) (map[string]*store.Connection, error) {
	var realms map[string]*store.Connection
	for i := range connections {
		c := &connections[i]
		if !IsUpstream(c) {
			continue
		}
		o, err := upstreamOptionsOf(c)
		if err != nil {
			return nil, err
		}
		for _, alias := range o.DomainAliases {
			domain, ok := asciiDomain(alias)
			if !ok {
				continue
			}
			if holder := realms[domain]; holder != nil && !older(c, holder) {
				continue
			}
			if realms == nil {
				realms = map[string]*store.Connection{}
			}
			realms[domain] = c
		}
	}
	return realms, nil
}

func older(a, b *store.Connection) bool {
	if !a.CreatedAt.Equal(b.CreatedAt) {
		return a.CreatedAt.Before(b.CreatedAt)
	}
	return a.ID < b.ID
}

// EmailDomain returns the domain of an email address as DNS has it, empty for what is
// no email address.
func EmailDomain(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || !utf8.ValidString(address) {
		return ""
	}
	domain, _ := asciiDomain(strings.TrimSpace(address[at+1:]))
	return domain
}

// dots are those of RFC 3490 §3.1, as people type them.
var dots = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".")

// asciiDomain returns a domain name with at least two labels in lower case and in
// ASCII (RFC 5890 §2.3.2.1). What is not in Unicode's composed form becomes another
// name, which nobody has.
func asciiDomain(domain string) (string, bool) {
	if len(domain) > maxHostname || !utf8.ValidString(domain) {
		return "", false
	}
	labels := strings.Split(dots.Replace(domain), ".")
	for i, label := range labels {
		label = strings.ToLower(label)
		if strings.ContainsFunc(label, func(r rune) bool { return !isLabelRune(r) }) {
			return "", false
		}
		if strings.ContainsFunc(label, func(r rune) bool { return r >= utf8.RuneSelf }) {
			label = "xn--" + punycode(label)
		}
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
		labels[i] = label
	}
	out := strings.Join(labels, ".")
	if len(labels) < 2 || len(out) > maxHostname {
		return "", false
	}
	return out, true
}

// isLabelRune reports whether a label may contain r: of ASCII letters, digits and
// hyphens, of the rest letters, marks and digits.
func isLabelRune(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-'
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd)
}

// punycode encodes a label as RFC 3492 §6.3 does.
func punycode(label string) string {
	const (
		base, tMin, tMax     = 36, 1, 26
		skew, damp           = 38, 700
		initialBias, initial = 72, 128
		digits               = "abcdefghijklmnopqrstuvwxyz0123456789"
	)
	runes := []rune(label)
	var out []byte
	for _, r := range runes {
		if r < initial {
			out = append(out, byte(r))
		}
	}
	basic := len(out)
	if basic > 0 {
		out = append(out, '-')
	}
	n, delta, bias := rune(initial), 0, initialBias
	for done := basic; done < len(runes); {
		next := rune(unicode.MaxRune) // the smallest that is not done
		for _, r := range runes {
			if r >= n {
				next = min(next, r)
			}
		}
		delta += int(next-n) * (done + 1)
		n = next
		for _, r := range runes {
			if r < n {
				delta++
			}
			if r != n {
				continue
			}
			q := delta
			for k := base; ; k += base {
				t := min(max(k-bias, tMin), tMax)
				if q < t {
					out = append(out, digits[q])
					break
				}
				out = append(out, digits[t+(q-t)%(base-t)])
				q = (q - t) / (base - t)
			}
			// §6.1
			if done == basic {
				delta /= damp
			} else {
				delta /= 2
			}
			done++
			delta += delta / done
			k := 0
			for ; delta > (base-tMin)*tMax/2; k += base {
				delta /= base - tMin
			}
			bias = k + (base-tMin+1)*delta/(delta+skew)
			delta = 0
		}
		delta++
		n++
	}
	return string(out)
}
