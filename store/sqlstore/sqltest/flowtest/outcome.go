package flowtest

import (
	"fmt"
	"slices"
)

// Outcomes returns the states in which the application's families may be, each as
// the sorted texts of [State]: one state if every request was answered, more if one
// was not. Nil: any state will do, because the application's deletion was not
// answered.
func (d *Driver) Outcomes(app *Application) [][]string {
	var known []string
	p := d.pending
	if p != nil && p.app != app {
		p = nil
	}
	if p != nil && p.kind == remove {
		return nil
	}
	if app.Deleted {
		return [][]string{nil}
	}
	for _, f := range app.Families {
		if p == nil || f != p.family {
			known = append(known, State(f.Generation, f.Dead))
		}
	}
	if p == nil {
		slices.Sort(known)
		return [][]string{known}
	}
	var outcomes [][]string
	with := func(states ...string) {
		all := append(slices.Clone(known), states...)
		slices.Sort(all)
		outcomes = append(outcomes, all)
	}
	f := p.family
	switch p.kind {
	case redeem:
		with()
		with(State(0, false))
		if p.again {
			with(State(0, true))
		}
	case refresh:
		with(State(f.Generation, false))
		with(State(f.Generation+1, false))
		if p.again {
			with(State(f.Generation+1, true))
		}
	case replay, revoke:
		with(State(f.Generation, false))
		with(State(f.Generation, true))
	}
	return outcomes
}

// Unsure reports whether the application's deletion was asked for and not answered.
func (d *Driver) Unsure(app *Application) bool {
	return d.pending != nil && d.pending.kind == remove && d.pending.app == app
}

// State describes a family.
func State(generation int64, revoked bool) string {
	return fmt.Sprintf("generation %d, revoked: %t", generation, revoked)
}
