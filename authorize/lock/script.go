package lock

import (
	"html"
	"strings"
)

// script is a script of a page: a file, or the text between its tags.
type script struct {
	file bool
	src  string
	text string
}

// textOnly are the elements whose content a browser does not read as HTML (HTML
// §13.2.6): what looks like a script in them is none. noscript is one of them where
// scripts run.
var textOnly = map[string]bool{
	"style": true, "textarea": true, "title": true, "xmp": true, "iframe": true, "noembed": true, "noframes": true, "noscript": true,
}

// scriptsOf finds the scripts of a page as a browser does (HTML §13.2.5), but for the
// rule on scripts that contain a comment with another script in it. A script that it
// misses does not run.
func scriptsOf(page string) []script {
	var found []script
	for {
		_, rest, ok := strings.Cut(page, "<")
		if !ok {
			return found
		}
		if comment, ok := strings.CutPrefix(rest, "!--"); ok {
			page = afterComment(comment)
			continue
		}
		if rest == "" || !isLetter(rest[0]) && rest[0] != '/' {
			page = rest
			continue
		}
		name, attributes, after := readTag(rest)
		page = after
		switch {
		case name == "script":
			var text string
			text, page = untilEndTag(after, name)
			src, file := attributes["src"]
			found = append(found, script{file: file, src: src, text: text})
		case textOnly[name]:
			_, page = untilEndTag(after, name)
		}
	}
}

// afterComment returns what follows the comment that s is inside of.
func afterComment(s string) string {
	if rest, ok := strings.CutPrefix(s, ">"); ok { // <!-->
		return rest
	}
	if rest, ok := strings.CutPrefix(s, "->"); ok { // <!--->
		return rest
	}
	end := len(s)
	for _, mark := range []string{"-->", "--!>"} {
		if i := strings.Index(s, mark); i >= 0 && i+len(mark) < end {
			end = i + len(mark)
		}
	}
	return s[end:]
}

// untilEndTag returns the text before the end tag of an element, and what follows
// the name in that tag.
func untilEndTag(s, name string) (text, rest string) {
	for at := 0; ; {
		i := strings.Index(s[at:], "</")
		if i < 0 {
			return s, ""
		}
		at += i
		if tag := s[at+2:]; len(tag) > len(name) && strings.EqualFold(tag[:len(name)], name) && endsName(tag[len(name)]) {
			return s[:at], tag[len(name):]
		}
		at += 2
	}
}

// readTag reads a tag from its name on. Names are in lower case; of several
// attributes with one name the first counts.
func readTag(s string) (name string, attributes map[string]string, rest string) {
	end := 0
	for end < len(s) && (!endsName(s[end]) || end == 0 && s[end] == '/') {
		end++
	}
	name, s = strings.ToLower(s[:end]), s[end:]
	attributes = map[string]string{}
	for {
		s = strings.TrimLeft(s, " \t\n\f/")
		if s == "" {
			return name, attributes, ""
		}
		if s[0] == '>' {
			return name, attributes, s[1:]
		}
		var attribute, value string
		attribute, s = readWhile(s, func(i int, c byte) bool { return !endsName(c) && (c != '=' || i == 0) })
		if after := strings.TrimLeft(s, " \t\n\f"); strings.HasPrefix(after, "=") {
			value, s = readValue(strings.TrimLeft(after[1:], " \t\n\f"))
		}
		if attribute = strings.ToLower(attribute); attribute != "" {
			if _, twice := attributes[attribute]; !twice {
				attributes[attribute] = html.UnescapeString(value)
			}
		}
	}
}

func readValue(s string) (value, rest string) {
	if s == "" {
		return "", ""
	}
	if quote := s[0]; quote == '"' || quote == '\'' {
		value, rest, _ = strings.Cut(s[1:], string(quote))
		return value, rest
	}
	return readWhile(s, func(_ int, c byte) bool { return !isSpace(c) && c != '>' })
}

func readWhile(s string, ok func(int, byte) bool) (read, rest string) {
	i := 0
	for i < len(s) && ok(i, s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func endsName(c byte) bool { return isSpace(c) || c == '/' || c == '>' }
func isSpace(c byte) bool  { return c == ' ' || c == '\t' || c == '\n' || c == '\f' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
