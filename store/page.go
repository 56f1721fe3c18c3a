package store

// Page selects a part of a list. Lists are ordered by identifier, ascending and
// bytewise, so that a page stays right while records come and go.
type Page struct {
	// After is the identifier of the last record already seen; empty starts at
	// the beginning. It need not exist any more. It comes from outside and is
	// compared, never interpreted.
	After string
	// Limit is the largest number of records to return. Zero or less, or more
	// than MaxPageLimit, means MaxPageLimit.
	Limit int
}

// MaxPageLimit bounds every list call.
const MaxPageLimit = 1000

// Size returns the number of records to return at most.
func (p Page) Size() int {
	if p.Limit <= 0 || p.Limit > MaxPageLimit {
		return MaxPageLimit
	}
	return p.Limit
}
