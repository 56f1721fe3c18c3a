package console

import (
	"fmt"
	"time"
)

// chart is what happened in each of the last hours. It is drawn as rectangles in a
// drawing as wide as there are hours and 100 high, which the page stretches; all texts
// are outside of it.
type chart struct {
	Hours []hourView
	// SignIns and Registrations are the rectangles, MostSignIns and MostRegistrations
	// what the height stands for.
	SignIns, Registrations         []bar
	MostSignIns, MostRegistrations int
	// The sums of all hours.
	Logins, FailedLogins, Registered int
}

// hourView is what happened in an hour.
type hourView struct {
	Date          time.Time `json:"date"`
	Logins        int       `json:"logins"`
	FailedLogins  int       `json:"failed_logins"`
	Registrations int       `json:"registrations"`
}

// Clock is when the hour began.
func (h hourView) Clock() string { return h.Date.UTC().Format("15:04") }

// Empty reports whether nothing happened in it.
func (h hourView) Empty() bool { return h.Logins == 0 && h.FailedLogins == 0 && h.Registrations == 0 }

// bar is a rectangle.
type bar struct {
	X, Y, Height float64
	Class        string
}

const (
	barGap    = 0.14 // of an hour's width, on each side
	leastBar  = 3.0  // of the height: what happened once is seen beside what happened often
	barHeight = 100.0
)

// Middle is the hour in the middle.
func (c *chart) Middle() hourView { return c.Hours[len(c.Hours)/2] }

func (c *chart) draw() {
	for _, h := range c.Hours {
		c.Logins, c.FailedLogins, c.Registered = c.Logins+h.Logins, c.FailedLogins+h.FailedLogins, c.Registered+h.Registrations
		c.MostSignIns, c.MostRegistrations = max(c.MostSignIns, h.Logins+h.FailedLogins), max(c.MostRegistrations, h.Registrations)
	}
	for i, h := range c.Hours {
		c.SignIns = stack(c.SignIns, i, c.MostSignIns, part{h.Logins, "done"}, part{h.FailedLogins, "refused"})
		c.Registrations = stack(c.Registrations, i, c.MostRegistrations, part{h.Registrations, "done"})
	}
}

// part is a part of what a column stands for.
type part struct {
	count int
	class string
}

// stack adds a column, from the bottom to the top.
func stack(bars []bar, column, most int, parts ...part) []bar {
	top := barHeight
	for _, p := range parts {
		if p.count == 0 {
			continue
		}
		height := min(max(barHeight*float64(p.count)/float64(most), leastBar), top)
		top -= height
		bars = append(bars, bar{X: float64(column) + barGap, Y: top, Height: height, Class: p.class})
	}
	return bars
}

// drawing is what the template of a drawing gets.
type drawing struct {
	Label   string
	Columns int
	Width   float64
	Bars    []bar
}

// Drawing returns the drawing of sign-ins or of registrations. Who cannot see it hears
// what it shows in one sentence, and finds the numbers in the table below.
func (c *chart) Drawing(of string) drawing {
	d := drawing{Columns: len(c.Hours), Width: 1 - 2*barGap, Bars: c.Registrations}
	if of == "sign-ins" {
		d.Bars = c.SignIns
		d.Label = fmt.Sprintf("Sign-ins by the hour: %d and %d refused, together at most %d in one hour.", c.Logins, c.FailedLogins, c.MostSignIns)
		return d
	}
	d.Label = fmt.Sprintf("Registrations by the hour: %d, at most %d in one hour.", c.Registered, c.MostRegistrations)
	return d
}
