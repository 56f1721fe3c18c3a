package dcr

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/opkit/opkit/internal/oauth"
)

// This file reads the JSON of a registration. encoding/json proves the syntax;
// what it would then do with a struct is wrong here: it matches names without
// regard to case, lets the last of two members win, replaces bytes that are not
// UTF-8, and its errors do not name the member. So the members are taken apart by
// hand, which is simple once the syntax is known to be right, and cheap.

const (
	// maxMembers bounds an object, maxDepth its nesting.
	maxMembers = 128
	maxDepth   = 32
	// maxValues bounds a list in a registration.
	maxValues = 20
)

// decode reads a registration, or a document, into m.
func decode(body []byte, m *metadata) error {
	what := "the request body "
	if m.document != nil {
		what = "the document "
	}
	malformed := func(text string) error {
		return oauth.Errorf(oauth.CodeInvalidClientMetadata, "%s", what+text)
	}
	switch {
	case !utf8.Valid(body): // RFC 8259 §8.1
		return malformed("is not valid UTF-8")
	case !json.Valid(body):
		return malformed("is not valid JSON")
	}
	c := cursor{data: body}
	if c.peek() != '{' {
		return malformed("must be a JSON object")
	}
	var names [maxMembers][]byte
	seen := names[:0]
	err := c.object(func(name, value []byte) error {
		for _, other := range seen {
			if bytes.Equal(name, other) {
				if m.target(name) != nil {
					return malformed("has the member " + string(name) + " more than once")
				}
				return malformed("has a member more than once")
			}
		}
		if len(seen) == maxMembers {
			return malformed("has more than " + strconv.Itoa(maxMembers) + " members")
		}
		seen = append(seen, name)
		return m.set(name, value)
	})
	if errors.Is(err, errDepth) {
		return malformed("is nested too deeply")
	}
	return err
}

var errDepth = errors.New("nested too deeply")

// cursor walks over JSON that is known to be valid.
type cursor struct {
	data []byte
	pos  int
}

// peek skips white space and returns the byte after it.
func (c *cursor) peek() byte {
	for {
		switch b := c.data[c.pos]; b {
		case ' ', '\t', '\r', '\n':
			c.pos++
		default:
			return b
		}
	}
}

// object calls visit with the decoded name and the raw value of each member.
func (c *cursor) object(visit func(name, value []byte) error) error {
	c.pos++ // {
	for c.peek() != '}' {
		if c.data[c.pos] == ',' {
			c.pos++
			c.peek()
		}
		name := c.string()
		if bytes.IndexByte(name, '\\') < 0 {
			name = name[1 : len(name)-1]
		} else {
			decoded, _ := decodeString(name)
			name = []byte(decoded)
		}
		c.peek()
		c.pos++ // :
		value, err := c.value()
		if err != nil {
			return err
		}
		if err := visit(name, value); err != nil {
			return err
		}
	}
	return nil
}

// array calls visit with the raw value of each element.
func (c *cursor) array(visit func(value []byte) error) error {
	c.pos++ // [
	for c.peek() != ']' {
		if c.data[c.pos] == ',' {
			c.pos++
		}
		value, err := c.value()
		if err != nil {
			return err
		}
		if err := visit(value); err != nil {
			return err
		}
	}
	return nil
}

// value returns the value that comes next.
func (c *cursor) value() ([]byte, error) {
	switch c.peek() {
	case '"':
		return c.string(), nil
	case '{', '[':
		return c.nested()
	}
	start := c.pos
	for c.pos < len(c.data) && bytes.IndexByte([]byte(" \t\r\n,]}"), c.data[c.pos]) < 0 {
		c.pos++
	}
	return c.data[start:c.pos], nil
}

// string returns the string that comes next, with its quotes.
func (c *cursor) string() []byte {
	start := c.pos
	for c.pos++; c.data[c.pos] != '"'; c.pos++ {
		if c.data[c.pos] == '\\' {
			c.pos++
		}
	}
	c.pos++
	return c.data[start:c.pos]
}

// nested returns the object or array that comes next.
func (c *cursor) nested() ([]byte, error) {
	start, depth := c.pos, 1 // the registration itself
	for {
		switch c.data[c.pos] {
		case '"':
			c.string()
			continue
		case '{', '[':
			if depth++; depth > maxDepth {
				return nil, errDepth
			}
		case '}', ']':
			depth--
		}
		c.pos++
		if depth == 1 {
			return c.data[start:c.pos], nil
		}
	}
}

// decodeString returns the text of a JSON string; false if raw is another value.
func decodeString(raw []byte) (string, bool) {
	if raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}
